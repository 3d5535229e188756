"""One command, run as a user would run it: wall clock, CPU time, output; ended when we are.

A command gets a process group of its own, so that an interruption ends all of it: a pool's workers,
xargs' children. Output goes to files, not pipes: no reader shares the time that is measured.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import IO, TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

LIMIT_S = 6 * 3600.0
"""No command of a comparison takes longer than this; one that does is ended and has failed."""
GRACE_S = 5.0
COMPLAINT_LINES_MAX = 5
COMPLAINT_CHARS_MAX = 1_000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Outcome(Struct, frozen=True):
    """How a command went. `cpu_s` is user and system time of it and its children, not the server's.

    `complaint` is the end of what it wrote to stderr.
    """

    code: int
    seconds: float
    cpu_s: float
    output: str
    complaint: str


def run_command(
    command: Sequence[str],
    *,
    stdin: IO[bytes] | None = None,
    show: bool = False,
    limit_s: float = LIMIT_S,
) -> Outcome:
    """Run `command` to its end and time it. Raises OSError when it cannot be started.

    With `show` its stderr is ours, and so is its process group: a progress bar belongs to the
    foreground.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
        cpu_before_s = _children_cpu_s()
        began_s = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=None if show else complaint,
            process_group=None if show else 0,
        )
        timer = threading.Timer(limit_s, _signal, (process, signal.SIGKILL, show))
        timer.daemon = True
        timer.start()
        try:
            _feed(process, stdin)
            code = process.wait()
        except BaseException:
            _end(process, show)
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - began_s
        text = _last_lines(_read(complaint))
        if seconds >= limit_s:
            text = f"ended after {limit_s:.0f} s\n{text}".strip()
        return Outcome(code, seconds, _children_cpu_s() - cpu_before_s, _read(output), text)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While this is open, the first signal to stop raises KeyboardInterrupt; further ones nothing.

    Impatience must not cut off the clean-up that stops the server.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _feed(process: subprocess.Popen[bytes], stdin: IO[bytes] | None) -> None:
    if stdin is None or process.stdin is None:
        return
    # A command that fails early closes its end; its exit code tells.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        shutil.copyfileobj(stdin, process.stdin)


def _end(process: subprocess.Popen[bytes], show: bool) -> None:
    _signal(process, signal.SIGTERM, show)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_S)
    # The group may outlive its leader.
    _signal(process, signal.SIGKILL, show)
    process.wait(timeout=GRACE_S)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals, show: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if show:
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _last_lines(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-COMPLAINT_LINES_MAX:])[-COMPLAINT_CHARS_MAX:]
