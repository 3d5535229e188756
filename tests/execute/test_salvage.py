"""Chunks with bad rows, on a session that refuses them as COPY does: everything else is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pgfan.errors import DatabaseError
from pgfan.execute.salvage import SAVEPOINT, is_row_error, salvage
from pgfan.load.record_index import RecordIndex
from pgfan.load.records import LineScanner
from pgfan.load.sources import FileError
from pgfan.plan.ranges import Range
from pgfan.plan.task import SplitPlan, TaskPlan, Whole
from pgfan.ports import PreparedTask, Rejected, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfan.ports import CopyData

WHOLE = Range(0, 1)


@dataclass
class Table:
    """A session with one table. `bad` rows are refused; `named`: with their line."""

    bad: set[int]
    named: bool
    ended: int = 0
    rows: list[int] = field(default_factory=list)

    def copy_to(self, sql: str, take: object) -> list[Result]:
        raise NotImplementedError

    def copy_from(self, sql: str, blocks: Iterable[bytes] | None) -> list[Result]:
        assert sql.startswith(SAVEPOINT)
        lines = [int(line) for line in b"".join(blocks or ()).split()]
        for number, value in enumerate(lines, 1):
            if value in self.bad:
                context = f"COPY t, line {number}, column i" if self.named else None
                raise DatabaseError("bad", sqlstate="23514", context=context)
        self.rows += lines
        return [Result("SAVEPOINT"), Result(f"COPY {len(lines)}"), Result("RELEASE")]

    def execute(self, sql: str, copies: Sequence[CopyData] = ()) -> list[Result]:
        assert not copies
        return [Result(sql)]

    def rollback(self) -> None: ...
    def prepare(self, settings: tuple[str, ...]) -> None: ...
    def assume(self, settings: tuple[str, ...]) -> None: ...
    def cancel(self) -> bool:
        return True

    def close(self) -> None: ...
    def notices(self) -> list[tuple[str, str]]:
        return []


class Numbers:
    """A feed of the numbers below `count`, one a line."""

    def __init__(self, count: int) -> None:
        self._raw = b"".join(b"%d\n" % number for number in range(count))

    def blocks(self, piece: Range) -> Iterator[bytes]:
        assert piece == WHOLE
        yield self._raw

    def records(self, piece: Range) -> RecordIndex:
        return RecordIndex(LineScanner(), self.blocks(piece))

    def place(self, piece: Range, line: int) -> str:
        return f"{piece.lo}:{line}"

    def explained(self, piece: Range, error: DatabaseError) -> DatabaseError:
        del piece
        return error


class Kept:
    def __init__(self) -> None:
        self.rejected: Sequence[Rejected] = ()

    def check(self, count: int) -> None: ...
    def committed(self, count: int) -> None: ...

    def insert(self, task: int, lo: int, rejected: Sequence[Rejected]) -> str:
        self.rejected = rejected
        return f"INSERT {task} {lo}"


def run(table: Table, count: int) -> tuple[int, int, Kept]:
    split = SplitPlan("file", "files", 1, ("COPY t FROM STDIN",), Whole(), "t")
    kept = Kept()
    plan = TaskPlan("split", split=split)
    task = PreparedTask(1, plan, "BEGIN;", (), (), feed=Numbers(count), rejects=kept)
    loaded, rejected = salvage(table, task, kept, WHOLE)
    return loaded, rejected, kept


@given(st.integers(1, 80), st.sets(st.integers(0, 79)), st.booleans())
def test_all_but_the_bad_rows_are_loaded(count: int, bad: set[int], named: bool) -> None:
    table = Table(bad, named)
    there = sorted(bad & set(range(count)))
    loaded, rejected, kept = run(table, count)
    assert sorted(table.rows) == [number for number in range(count) if number not in bad]
    assert (loaded, rejected) == (count - len(there), len(there))
    assert [int(row.data) for row in kept.rejected] == there
    assert [row.place for row in kept.rejected] == [f"0:{number + 1}" for number in there]


def test_errors_of_the_command_or_the_file_are_no_rows_fault() -> None:
    assert not is_row_error(DatabaseError("no such encoding", sqlstate="22023"))
    assert not is_row_error(FileError("half a record"))
    assert not is_row_error(DatabaseError("disk full", sqlstate="53100"))
    assert is_row_error(DatabaseError("key", sqlstate="23503"))
    assert is_row_error(DatabaseError("x", sqlstate="22P02", context="COPY t, line 3, column i"))
