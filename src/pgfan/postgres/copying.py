"""COPY ... FROM STDIN: blocks of bytes to the server, watched for what it says meanwhile.

libpq's PQputCopyData would wait for the server by itself, with the GIL held: no other worker could
send. So the connection is put into non-blocking mode and poll does the waiting. A server that
refuses a row says so at once, and then reads and drops what is still sent; libpq shows that answer
only after the end of the data, so anything that arrives and is no notice ends the stream early.
See "COPY Operations" in the chapter on the protocol, and PQputCopyData, in PostgreSQL's manual.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from psycopg import pq

    from pgfan.ports import CopyData

STOPPED = b"pgfan stopped the stream"
SERIALIZATION_FAILURE = "40001"
SIGNALS_MS = 500
BLOCK_BYTES = 1 << 18
IO_ERROR = "58030"


def put_blocks(
    pgconn: pq.abc.PGconn, blocks: Iterable[bytes], notices: Callable[[], int]
) -> DatabaseError | None:
    """Send `blocks` and the end of the data, to a connection in COPY_IN.

    `notices` counts those that were received. A DatabaseError that `blocks` raises ends the COPY
    with a failure and is returned.
    """
    pgconn.nonblocking = 1
    failure = None
    try:
        _put(pgconn, blocks, notices)
        pgconn.put_copy_end()
    except _AnsweredError:
        pgconn.put_copy_end(STOPPED)
    except DatabaseError as error:
        failure = error
        pgconn.put_copy_end(STOPPED)
    _flush(pgconn, select.poll(), None)
    pgconn.nonblocking = 0
    return failure


def again_if_stopped(refusal: DatabaseError) -> DatabaseError:
    """`refusal`, as one to try again after, when it is no more than the end that was put early.

    What had arrived was neither notice nor error: a parameter that a function has changed.
    """
    if STOPPED.decode() in refusal.message:
        refusal.sqlstate = SERIALIZATION_FAILURE
    return refusal


class _AnsweredError(Exception):
    """The server has said something that is no notice."""


def _put(pgconn: pq.abc.PGconn, blocks: Iterable[bytes], notices: Callable[[], int]) -> None:
    poll = select.poll()
    for block in blocks:
        pgconn.put_copy_data(block)
        _flush(pgconn, poll, notices)


def _flush(pgconn: pq.abc.PGconn, poll: select.poll, notices: Callable[[], int] | None) -> None:
    """Wait until everything is sent; raise _AnsweredError when the server answers meanwhile.

    Without `notices` whatever the server says is left for later.
    """
    poll.register(pgconn.socket, select.POLLIN)
    if poll.poll(0):
        _listen(pgconn, notices)
    while pgconn.flush():
        poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        for _, events in poll.poll(SIGNALS_MS):
            if events & ~select.POLLOUT:
                _listen(pgconn, notices)


def _listen(pgconn: pq.abc.PGconn, notices: Callable[[], int] | None) -> None:
    before = notices() if notices is not None else 0
    pgconn.consume_input()
    pgconn.is_busy()  # reads the notices
    if notices is not None and notices() == before:
        raise _AnsweredError


def take_messages(pgconn: pq.abc.PGconn, take: Callable[[bytes], None]) -> None:
    """Hand the messages of a connection in COPY_OUT to `take`, each a row or the header.

    poll does the waiting, so that others may work meanwhile.
    """
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    while True:
        size, data = pgconn.get_copy_data(1)
        if size > 0:
            take(bytes(data))
        elif size < 0:
            return
        else:
            poll.poll(SIGNALS_MS)
            pgconn.consume_input()


def blocks_of(data: CopyData) -> Iterator[bytes]:
    """Text, or a file of the client's, in blocks. Raises DatabaseError for what cannot be read."""
    if isinstance(data, str):
        raw = data.encode()
        for at in range(0, len(raw), BLOCK_BYTES):
            yield raw[at : at + BLOCK_BYTES]
        return
    try:
        with data.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise DatabaseError(f"{data}: {error.strerror}", sqlstate=IO_ERROR) from error
