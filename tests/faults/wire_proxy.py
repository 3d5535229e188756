"""A proxy between client and server that loses connections at chosen bytes.

It parses nothing: a fault strikes when a message from the client contains the needle. Before the
server has seen it, or after the server has answered and the client has not. Or the server is told
to roll back where the client has said COMMIT: its answer is that of a transaction that had failed.

A lost connection is closed on both sides, or both sides stay open and hear no more (`SILENT`): the
client talks to the proxy by TCP then, and from the fault on the kernel drops whatever arrives there
before TCP acknowledges it, as a network does that forwards nothing (Linux only). With
`acknowledges` nothing is dropped, and nothing read: a proxy that hangs.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType
    from typing import Self

Fault: TypeAlias = Literal[
    "lose request", "lose answer", "roll back", "silent before", "silent after"
]
SILENT = ("silent before", "silent after")
PIECE_BYTES_MAX = 1 << 20
ANSWER_WAIT_S = 20.0
LOOK_EVERY_S = 0.1
SO_ATTACH_FILTER = 26


def drop_what_arrives(socket_: socket.socket) -> None:
    """Have the kernel drop every packet for a TCP socket, acknowledging none; see socket(7)."""
    accept_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(accept_nothing))
    socket_.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


class WireProxy:
    """Listens on a Unix socket in `folder`; `at` are the occurrences that strike, from 1.

    `struck` is how many have. Silence falls over all connections there are when it first strikes;
    later ones are as good as any.
    """

    def __init__(
        self,
        server_socket: Path,
        folder: Path,
        needle: bytes,
        fault: Fault,
        at: Collection[int],
    ) -> None:
        self.struck = 0
        self.acknowledges = False
        self._server_socket = server_socket
        self._path = folder / server_socket.name
        self._needle = needle
        self._fault = fault
        self._at = at
        self._seen = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._silence = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_INET if fault in SILENT else socket.AF_UNIX)

    @property
    def where(self) -> dict[str, str]:
        """For libpq."""
        if self._listener.family == socket.AF_UNIX:
            return {"host": str(self._path.parent)}
        host, port = self._listener.getsockname()
        return {"host": host, "port": str(port)}

    def __enter__(self) -> Self:
        inet = self._listener.family == socket.AF_INET
        self._listener.bind(("127.0.0.1", 0) if inet else str(self._path))
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
        self._path.unlink(missing_ok=True)

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
        spared = self._silence.is_set()
        with client, server, suppress(OSError):
            server.connect(str(self._server_socket))
            while not self._over.is_set():
                ready, _, _ = select.select([client, server], [], [], LOOK_EVERY_S)
                if client in ready and not self._forward(client, server):
                    return
                if self._silence.is_set() and not spared:
                    if not self.acknowledges:
                        drop_what_arrives(client)
                    self._over.wait()
                elif server in ready and not _copy(server, client):
                    return

    def _forward(self, client: socket.socket, server: socket.socket) -> bool:
        """Hand on what the client says; False when the connection is to be lost."""
        piece = client.recv(PIECE_BYTES_MAX)
        strikes = self._strikes(piece)
        if strikes and self._fault == "roll back":
            piece, strikes = piece.replace(b"COMMIT", b"ABORT "), False
        lost = strikes and self._fault not in SILENT
        if not (strikes and self._fault in {"lose request", "silent before"}):
            server.sendall(piece)
            if strikes:
                select.select([server], [], [], ANSWER_WAIT_S)
        if strikes and not lost:
            self._silence.set()
        return bool(piece) and not lost

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
