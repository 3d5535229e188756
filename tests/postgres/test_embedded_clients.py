"""Several pgfan processes and one server: killed, interrupted, at once. Real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 20

# Starts the server, says its process number, and ends with its standard input.
CLIENT = """
import os, signal, sys
from pathlib import Path
from pgfan.postgres.embedded import EmbeddedServer
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
if "fork" in sys.argv and os.fork() == 0:
    sys.exit()
sys.stdin.readline()
"""


class Client(subprocess.Popen[str]):
    """Another process that uses the server in a folder; leads a process group of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(
            [sys.executable, "-c", CLIENT, str(folder), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        return stream(self.stdout).readline().strip()

    def end(self) -> int:
        """Let it end in its own way."""
        stream(self.stdin).close()
        return self.wait(WAIT_S)


def stream(maybe: IO[str] | None) -> IO[str]:
    assert maybe is not None
    return maybe


@contextmanager
def client(folder: Path, *options: str) -> Iterator[Client]:
    with Client(folder, *options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)


def pid_of(folder: Path) -> str:
    return str(EmbeddedServer(folder).pid)


def test_the_end_of_the_process_stops_the_server(made18: Path) -> None:
    with client(made18) as user:
        pid = user.line()
        assert pid_of(made18) == pid
        assert user.end() == 0
    assert pid_of(made18) == "None"


def test_a_server_whose_client_was_killed_is_found_and_stopped_at_last(made18: Path) -> None:
    with client(made18) as killed:
        pid = killed.line()
        killed.kill()
        killed.wait(WAIT_S)
    with EmbeddedServer(made18) as server:
        assert server.reused
        assert str(server.pid) == pid
    assert server.pid is None


def test_only_the_last_of_two_processes_stops_the_server(made18: Path) -> None:
    with EmbeddedServer(made18) as here:
        with client(made18) as other:
            assert other.line() == str(here.pid)
            assert other.end() == 0
        assert here.pid is not None
        with client(made18) as other:
            assert other.line() == str(here.pid)
            here.release()
            assert here.pid is not None
            assert other.end() == 0
    assert here.pid is None


def test_a_fork_that_ends_stops_nothing(made18: Path) -> None:
    with client(made18, "fork") as user:
        pid = user.line()
        # The child's own exit handlers have run once it is gone.
        wait_until(lambda: len(children(user.pid)) == 0 or zombie(children(user.pid)[0]))
        assert pid_of(made18) == pid
        assert user.end() == 0
    assert pid_of(made18) == "None"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_ctrl_c_reaches_the_client_and_not_the_server(made18: Path) -> None:
    with client(made18) as user:
        pid = user.line()
        assert os.getpgid(int(pid)) != os.getpgid(user.pid)
        os.killpg(user.pid, signal.SIGINT)
        assert user.line() == "interrupted"
        assert pid_of(made18) == pid
        log = (made18 / "server.log").read_text()
        assert "shutdown request" not in log.rsplit("ready to accept connections", 1)[1]
        assert user.end() == 0


def test_two_that_start_at_once_share_one_new_server(scratch: Path) -> None:
    folder = scratch / "server"
    with client(folder) as one, client(folder) as other:
        assert one.line() == other.line() == pid_of(folder)
        assert one.end() == 0
        assert pid_of(folder) != "None"
        assert other.end() == 0
    assert pid_of(folder) == "None"


@pytest.mark.parametrize("moment", ["pgfan.json", "data/base/1/PG_VERSION"])
def test_a_client_killed_during_initdb_leaves_a_folder_that_mends_itself(
    scratch: Path, moment: str
) -> None:
    folder = scratch / "server"
    with client(folder) as killed:
        wait_until((folder / moment).exists)
        killed.kill()
        killed.wait(WAIT_S)
    with EmbeddedServer(folder) as server:
        assert server.pid is not None
