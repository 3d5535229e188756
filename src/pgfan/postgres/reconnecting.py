"""Doing again what a lost connection has interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pgfan.errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
TRIES_MAX = 3


def again_when_lost(call: Callable[[], T]) -> T:
    """What `call` returns; again on a new connection when the old one is lost, TRIES_MAX times.

    For what may be done twice with the same effect, such as every write of task and run rows.
    """
    for _ in range(TRIES_MAX - 1):
        try:
            return call()
        except ConnectionLostError:
            continue
    return call()
