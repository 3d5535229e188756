"""A server of a few lines: transactions, a journal, work that can be counted, and faults.

It knows the statements that the fakes below write: BEGIN, SET, CLAIM task lo hi, WORK 'a' 'b'
(adds the units a..b), SETTLE, COMMIT, ROLLBACK, SELECT, FAIL sqlstate. Messages hold several,
parted by semicolons, and are carried out as PostgreSQL does: until the first error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfan.errors import ConnectionFailedError, ConnectionLostError, DatabaseError
from pgfan.plan.ranges import Range
from pgfan.plan.task import NumberSeries, SplitPlan, TaskPlan
from pgfan.ports import ChunksLost, PreparedTask, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgfan.errors import PgfanError
    from pgfan.events import Event
    from pgfan.ports import CopyData, Session, TaskRow

JOURNAL = ("pgfan", "chunk")


class ClientKilledError(BaseException):
    """SIGKILL of the client: nothing of it runs any more."""


class Clock:
    """A virtual clock: every reading is a millisecond later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_s(self) -> float:
        self.seconds += 0.001
        return self.seconds


@dataclass
class Server:
    """What is committed. `fault` sees each statement before it is carried out, and may raise."""

    rows: dict[tuple[int, int], tuple[int, int | None]] = field(default_factory=dict)
    units: Counter[tuple[int, int]] = field(default_factory=Counter)
    outside: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    fault: Callable[[str], None] = lambda _statement: None
    after: Callable[[str], None] = lambda _statement: None
    """The same for a statement that was carried out and whose answer may be lost."""


@dataclass
class FakeSession:
    """One connection. `messages` is all that was sent."""

    server: Server
    messages: list[str] = field(default_factory=list)
    answers: dict[str, Result] = field(default_factory=dict)
    """Answers to statements by their beginning, in place of the usual ones."""
    said: list[tuple[str, str]] = field(default_factory=list)
    settings: list[tuple[str, ...]] = field(default_factory=list)
    assumed: list[tuple[str, ...]] = field(default_factory=list)
    cancelled: int = 0
    ended: int = 0
    cancel_answered: bool = True
    closed: int = 0
    timeout_ms: int = 0
    unreachable: ConnectionFailedError | None = None
    state: str = "idle"
    claims: dict[tuple[int, int], tuple[int, int | None]] = field(default_factory=dict)
    work: Counter[tuple[int, int]] = field(default_factory=Counter)

    def copy_from(self, sql: str, blocks: Iterable[bytes]) -> list[Result]:
        assert list(blocks)
        return self.execute(sql)

    def copy_to(self, sql: str, take: Callable[[bytes], None]) -> list[Result]:
        take(b"a row\n")
        return self.execute(sql)

    def execute(self, sql: str, copies: Sequence[CopyData] = ()) -> list[Result]:
        assert not copies, "no fake takes COPY's data"
        self.messages.append(sql)
        if self.unreachable is not None:
            raise self.unreachable
        results: list[Result] = []
        offset = 0
        for part in sql.split(";"):
            statement = part.strip()
            if statement:
                try:
                    results.append(self._one(statement))
                except DatabaseError as error:
                    error.completed = len(results)
                    error.statement_offset = offset + len(part) - len(part.lstrip())
                    self.state = "failed" if self.state != "idle" else "idle"
                    raise
                except BaseException:
                    self._forget()
                    raise
            offset += len(part) + 1
        return results

    def rollback(self) -> None:
        self._forget()

    def prepare(self, settings: tuple[str, ...]) -> None:
        self.settings.append(settings)

    def assume(self, settings: tuple[str, ...]) -> None:
        self.assumed.append(settings)

    def cancel(self) -> bool:
        self.cancelled += 1
        return self.cancel_answered

    def notices(self) -> list[tuple[str, str]]:
        said, self.said = self.said, []
        return said

    def close(self) -> None:
        self.closed += 1
        self._forget()

    def _one(self, statement: str) -> Result:
        word, *arguments = statement.replace("'", "").split()
        self.server.fault(statement)
        if self.state == "failed" and word not in {"COMMIT", "ROLLBACK"}:
            raise DatabaseError("current transaction is aborted", sqlstate="25P02")
        result = self._carry_out(word, arguments)
        self.server.after(statement)
        found = (answer for start, answer in self.answers.items() if statement.startswith(start))
        return next(found, result)

    def _carry_out(self, word: str, arguments: list[str]) -> Result:
        match word:
            case "BEGIN":
                self.state = "open"
            case "CLAIM":
                self._claim(*(int(argument) for argument in arguments))
            case "WORK":
                task, low, high = (int(argument) for argument in arguments)
                self._do(task, low, high)
                return Result(f"INSERT 0 {high - low + 1}")
            case "OUTSIDE":
                self.server.outside.add(int(arguments[0]))
            case "COMMIT":
                return self._commit()
            case "ROLLBACK":
                self._forget()
            case "FAIL":
                raise DatabaseError("failed as it was told to", sqlstate=arguments[0])
            case "NOTICE":
                self.said.append(("NOTICE", " ".join(arguments)))
            case "SELECT" if "statement_timeout" in arguments:
                return Result("SELECT 1", ("setting",), (True,), [(str(self.timeout_ms),)])
            case _:
                pass
        return Result(" ".join([word, *arguments]))

    def _claim(self, task: int, lo: int, hi: int) -> None:
        if (task, lo) in self.server.rows or (task, lo) in self.claims:
            raise DatabaseError("duplicate key", sqlstate="23505", relation=JOURNAL)
        self.claims[task, lo] = (hi, hi - lo)

    def _do(self, task: int, low: int, high: int) -> None:
        units = Counter((task, unit) for unit in range(low, high + 1))
        if self.state == "open":
            self.work += units
        else:  # outside of a transaction every statement commits itself
            self.server.units += units

    def _commit(self) -> Result:
        failed = self.state == "failed"
        if not failed:
            self.server.rows |= self.claims
            self.server.units += self.work
        self._forget()
        return Result("ROLLBACK" if failed else "COMMIT")

    def _forget(self) -> None:
        self.state = "idle"
        self.claims = {}
        self.work = Counter()


class FakeJournal:
    """The journal's statements in the fake server's words."""

    def claim(self, task: int, lo: int, hi: int, *, unlogged: bool) -> str:
        assert not unlogged
        return f"CLAIM {task} {lo} {hi};"

    def settle(
        self, task: int, lo: int, rows: int | None, seconds: float, *, unlogged: bool
    ) -> str:
        assert not unlogged
        assert seconds >= 0
        return f"SETTLE {task} {lo} {rows};"

    def is_duplicate(self, error: Exception) -> bool:
        return (
            isinstance(error, DatabaseError)
            and error.sqlstate == "23505"
            and error.relation == JOURNAL
        )

    def chunk_of(
        self, session: Session, task: int, lo: int, *, unlogged: bool
    ) -> tuple[int, int | None]:
        assert not unlogged
        session.execute(f"SELECT {task} {lo}")
        assert isinstance(session, FakeSession)
        return session.server.rows[task, lo]

    def claim_tasks(self, rows: Sequence[TaskRow]) -> str:
        raise NotImplementedError

    def settle_task(self, row: TaskRow, rows: int | None, seconds: float) -> str:
        raise NotImplementedError

    def rows_of(self, session: Session, row: TaskRow) -> int | None:
        raise NotImplementedError

    def mark_outside(self, task: int) -> str:
        return f"OUTSIDE {task};"


@dataclass
class FakeCoordinator:
    """Plans of a given number of units, less what the server's journal holds."""

    server: Server
    units: list[int]
    serial: dict[int, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[int, PgfanError | None] = field(default_factory=dict)
    refusals: dict[int, PgfanError] = field(default_factory=dict)
    begin: str = "BEGIN;"
    cancelled: int = 0
    renewed: int = 0

    def prepare(self, number: int) -> PreparedTask:
        if number in self.refusals:
            raise self.refusals[number]
        statements = self.serial.get(number)
        plan = serial_plan() if statements else split_plan(number, self.units[number])
        done = tuple(
            Range(lo, hi)
            for (task, lo), (hi, _) in sorted(self.server.rows.items())
            if task == number
        )
        return PreparedTask(
            key=number,
            plan=plan,
            begin="BEGIN;" if statements else self.begin,
            statements=statements or (),
            settings=("SET a.b = 1",),
            done=done,
            rows_done=sum(len(piece) for piece in done),
            chunks_done=len(done),
            skipped=number in self.server.finished,
        )

    def renew(self, number: int) -> str:
        if number in self.refusals:
            raise self.refusals[number]
        self.renewed += 1
        return self.begin

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        assert chunks >= 0
        assert seconds >= 0
        assert rows is None or rows >= 0
        self.server.finished.add(number)
        return None

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        self.failed[number] = error
        return None

    def vanished(self) -> tuple[int, ...]:
        return ()

    def cancel(self) -> None:
        self.cancelled += 1


@dataclass
class Told:
    """A display that keeps everything."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


def split_plan(task: int, units: int) -> TaskPlan:
    pieces = (f"WORK {task} ", " ", "")
    series = NumberSeries("0", "1")
    return TaskPlan("split", split=SplitPlan("series", "rows", units, pieces, series, "t"))


def serial_plan() -> TaskPlan:
    return TaskPlan("serial", (("cte", "WITH"),))


def prepared(
    units: int = 10, *statements: str, begin: str = "BEGIN;", rolls_back: bool = False
) -> PreparedTask:
    """A task with key 0; serial when it has statements."""
    plan = serial_plan() if statements else split_plan(0, units)
    return PreparedTask(0, plan, begin, statements, ("SET a.b = 1",), rolls_back=rolls_back)


def lost() -> ConnectionLostError:
    return ConnectionLostError("server closed the connection unexpectedly")
