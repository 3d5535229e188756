"""Bad rows of a load: kept in the journal by the transaction of their chunk, then written out.

A file alone could not be exactly once: it knows nothing of transactions. So the file is written
from the journal, whole, at the end of every run of the load.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgfan.ports import Rejected, Session

BAD_COPY_FILE = "22P04"
ROWS_AT_ONCE = 1000
HEADER = b"file,sqlstate,reason,row\n"


class PostgresRejects:
    """Implements `pgfan.ports.Rejects`. `rows_max` None: any number."""

    def __init__(self, schema: str, rows_max: int | None) -> None:
        self._table = f"{identifier(schema)}.reject"
        self._rows_max = rows_max
        self._lock = threading.Lock()
        self._count = 0

    def create(self, session: Session) -> None:
        """Make the table in the journal's schema."""
        session.execute(
            "SET client_min_messages = warning; "
            f"CREATE TABLE IF NOT EXISTS {self._table} (task bigint NOT NULL, lo bigint NOT NULL, "
            "number bigint NOT NULL, place text NOT NULL, sqlstate text NOT NULL, "
            "reason text NOT NULL, data bytea NOT NULL, PRIMARY KEY (task, lo, number)); "
            "RESET client_min_messages"
        )

    def begin(self, session: Session, task: int) -> None:
        """Count what an earlier client has put there."""
        self._count = self.count(session, task)

    def count(self, session: Session, task: int) -> int:
        """How many rows a load has rejected so far."""
        rows = session.execute(f"SELECT pg_catalog.count(*) FROM {self._table} WHERE task = {task}")
        return int(rows[0].rows[0][0] or 0)

    def check(self, count: int) -> None:
        """See `pgfan.ports.Rejects`."""
        if self._rows_max is not None and self._count + count > self._rows_max:
            raise DatabaseError(
                f"more than {self._rows_max} bad rows",
                sqlstate=BAD_COPY_FILE,
                hint="--max-rejects allows more; what is rejected so far is in the reject file",
            )

    def insert(self, task: int, lo: int, rejected: Sequence[Rejected]) -> str:
        """See `pgfan.ports.Rejects`."""
        text = f"DELETE FROM {self._table} WHERE task = {task} AND lo = {lo};"
        values = [
            f"({task}, {lo}, {number}, {literal(row.place)}, {literal(row.sqlstate)}, "
            f"{literal(row.reason)}, '\\x{row.data.hex()}')"
            for number, row in enumerate(rejected)
        ]
        for at in range(0, len(values), ROWS_AT_ONCE):
            text += f"INSERT INTO {self._table} VALUES {','.join(values[at : at + ROWS_AT_ONCE])};"
        return text

    def committed(self, count: int) -> None:
        """See `pgfan.ports.Rejects`."""
        with self._lock:
            self._count += count

    def write(self, session: Session, task: int, path: Path) -> int:
        """Write the rejected rows of a load to a CSV file, in place of what is there; how many.

        Its last column is the row as it was, byte for byte, with CSV's quotes around it. Raises
        OSError.
        """
        new = path.with_name(f".{path.name}.pgfan-{os.getpid()}")
        written, after = 0, "(-1, -1)"
        with new.open("wb") as file:
            file.write(HEADER)
            while True:
                rows = session.execute(
                    "SELECT place, sqlstate, reason, pg_catalog.encode(data, 'hex'), lo, number "
                    f"FROM {self._table} WHERE task = {task} AND (lo, number) > {after} "
                    f"ORDER BY lo, number LIMIT {ROWS_AT_ONCE}"
                )[0].rows
                for place, sqlstate, reason, data, lo, number in rows:
                    fields = [(text or "").encode() for text in (place, sqlstate, reason)]
                    fields.append(bytes.fromhex(data or "").rstrip(b"\r\n"))
                    file.write(b",".join(map(_quoted, fields)) + b"\n")
                    after = f"({lo}, {number})"
                written += len(rows)
                if len(rows) < ROWS_AT_ONCE:
                    break
        new.replace(path)
        return written


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b'"', b'""') + b'"'
