"""PostgreSQL's parser, called so that no text takes the process down with it.

libpg_query and protobuf recurse once for each level of a tree: a chain of 20,000 operators or
UNIONs overflows a thread's usual stack, and protobuf refuses trees over 100 levels unless it is
told otherwise (50 times `||` are enough). So long texts are parsed in a thread with a large stack,
and the limit is lifted while a tree is read. What is nested deeper still is an error that says so.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import postgast
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

Tree = Any
"""A protobuf message of pg_query; its classes are made at import time, so they have no types."""

SHORT_CHARS_MAX = 16_384
"""A level takes two characters or more and less than 500 bytes of stack; threads have 8 MB."""
STACK_BYTES = 256 << 20
"""Touched only as far as it is used: enough for 600,000 levels."""
_LEVEL_BYTES_MIN = 2
"""A message in another takes a tag and a length."""
_SWITCHING = threading.Lock()
"""protobuf's limit is one for the process: put back when nobody reads a tree."""


class NestedTooDeepError(Exception):
    """A statement nested so deep that its tree cannot be read (about 30,000 levels)."""


def parse(text: str) -> Tree:
    """The ParseResult of `text`.

    Raises postgast.PgQueryError for a syntax error and NestedTooDeepError. `text` has no NUL and
    no lone surrogates.
    """
    if len(text) <= SHORT_CHARS_MAX:
        return _parse_here(text)
    return _with_large_stack(lambda: _parse_here(text))


def is_deeper(tree: Tree, levels_max: int) -> bool:
    """Whether `tree` has more than `levels_max` levels of messages."""
    if tree.ByteSize() <= levels_max * _LEVEL_BYTES_MIN:
        return False
    level = [tree]
    for _ in range(levels_max):
        level = [
            child
            for message in level
            for descriptor, value in message.ListFields()
            if descriptor.type == descriptor.TYPE_MESSAGE
            for child in ((value,) if hasattr(value, "DESCRIPTOR") else value)
        ]
        if not level:
            return False
    return True


def _parse_here(text: str) -> Tree:
    with _SWITCHING:
        _allow_deep_messages(allowed=True)
        try:
            return postgast.parse(text)
        except DecodeError as error:
            raise NestedTooDeepError("the statement is nested too deeply") from error
        finally:
            _allow_deep_messages(allowed=False)


def _allow_deep_messages(*, allowed: bool) -> None:
    """Lift protobuf's limit of 100 levels; other implementations of protobuf keep theirs."""
    try:
        from google._upb import _message  # type: ignore[import-untyped]
    except ImportError:
        return
    switch: Callable[[bool], None] = getattr(_message, "SetAllowOversizeProtos", _ignore)
    switch(allowed)


def _ignore(_allowed: bool) -> None:
    """Stands in where protobuf has no such switch."""


def _with_large_stack(work: Callable[[], Tree]) -> Tree:
    answer: Future[Tree] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            answer.set_exception(error)

    before = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=run, name="pgfan-parser")
        thread.start()
    except RuntimeError:  # no address space for such a stack: the usual one has to do
        return work()
    finally:
        threading.stack_size(before)
    thread.join()
    return answer.result()
