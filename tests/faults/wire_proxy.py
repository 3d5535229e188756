"""A proxy between client and server that loses connections at chosen bytes.

It parses nothing: a fault strikes when a message from the client contains the needle. Before the
server has seen it, or after the server has answered and the client has not. Or the server is told
to roll back where the client has said COMMIT: its answer is that of a transaction that had failed.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType
    from typing import Self

PIECE_BYTES_MAX = 1 << 20
ANSWER_WAIT_S = 20.0
LOOK_EVERY_S = 0.1


class WireProxy:
    """Listens on a Unix socket in `folder`; `at` are the occurrences that strike, from 1.

    `struck` is how many have.
    """

    def __init__(
        self,
        server_socket: Path,
        folder: Path,
        needle: bytes,
        fault: Literal["lose request", "lose answer", "roll back"],
        at: Collection[int],
    ) -> None:
        self.struck = 0
        self._server_socket = server_socket
        self._path = folder / server_socket.name
        self._needle = needle
        self._fault = fault
        self._at = at
        self._seen = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.settimeout(LOOK_EVERY_S)
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in list(self._threads):
            thread.join()
        self._listener.close()
        self._path.unlink()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, suppress(OSError):
            server.connect(str(self._server_socket))
            while not self._over.is_set():
                ready, _, _ = select.select([client, server], [], [], LOOK_EVERY_S)
                if client in ready and not self._forward(client, server):
                    return
                if server in ready and not _copy(server, client):
                    return

    def _forward(self, client: socket.socket, server: socket.socket) -> bool:
        """Hand on what the client says; False when the connection is to be lost."""
        piece = client.recv(PIECE_BYTES_MAX)
        strikes = self._strikes(piece)
        if not piece or (strikes and self._fault == "lose request"):
            return False
        if strikes and self._fault == "roll back":
            server.sendall(piece.replace(b"COMMIT", b"ABORT "))
            return True
        server.sendall(piece)
        if strikes:
            select.select([server], [], [], ANSWER_WAIT_S)
        return not strikes

    def _strikes(self, piece: bytes) -> bool:
        if self._needle not in piece:
            return False
        with self._lock:
            self._seen += 1
            strikes = self._seen in self._at
            self.struck += strikes
        return strikes


def _copy(source: socket.socket, target: socket.socket) -> bool:
    piece = source.recv(PIECE_BYTES_MAX)
    if piece:
        target.sendall(piece)
    return bool(piece)
