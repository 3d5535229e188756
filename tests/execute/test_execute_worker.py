"""One chunk after the other in one session: what is sent, and what is made of each error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_server import (
    Clock,
    FakeJournal,
    FakeSession,
    Server,
    lost,
    prepared,
)
from msgspec.structs import replace

from pgfan.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    DatabaseError,
    InternalError,
    UsageError,
)
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport, run_chunks
from pgfan.plan.ranges import Range
from pgfan.ports import Result

if TYPE_CHECKING:
    from pgfan.execute.worker import Report
    from pgfan.ports import PreparedTask

SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ;SET TRANSACTION SNAPSHOT 's';"


def run(
    session: FakeSession,
    task: PreparedTask | None = None,
    *pieces: Range,
    journal: FakeJournal | None = FakeJournal(),  # noqa: B008 - it has no state
) -> list[Report]:
    pieces = pieces or (Range(0, 3),)
    return list(run_chunks(session, journal, task or prepared(), pieces, Clock()))


def one_error(reports: list[Report]) -> ChunkErrorReport:
    (report,) = reports
    assert isinstance(report, ChunkErrorReport), report
    return report


def fail_at(start: str, error: BaseException, times: int = 1) -> FakeSession:
    """A session whose server fails when it comes to a statement."""
    session = FakeSession(Server())
    left = [times]

    def fault(statement: str) -> None:
        if statement.startswith(start) and left[0]:
            left[0] -= 1
            raise error

    session.server.fault = fault
    return session


def state(sqlstate: str, relation: tuple[str, str] = ("", "")) -> DatabaseError:
    return DatabaseError(f"error {sqlstate}", sqlstate=sqlstate, relation=relation)


# What is sent ----------------------------------------------------------------------------------


def test_a_chunk_takes_two_messages() -> None:
    session = FakeSession(Server())
    (report,) = run(session)
    assert session.messages == ["BEGIN;CLAIM 0 0 3;WORK 0 '0' '2'", "SETTLE 0 0 3;COMMIT;"]
    assert session.settings == [("SET a.b = 1",)]
    assert isinstance(report, ChunkDoneReport)
    assert (report.rows, report.results) == (3, (Result("INSERT 0 3"),))
    assert report.seconds == pytest.approx(0.001)
    assert session.server.rows == {(0, 0): (3, 3)}


def test_in_a_batch_a_closing_travels_with_the_next_opening() -> None:
    session = FakeSession(Server())
    reports = run(session, None, Range(0, 2), Range(2, 3), Range(3, 9))
    assert session.messages == [
        "BEGIN;CLAIM 0 0 2;WORK 0 '0' '1'",
        "SETTLE 0 0 2;COMMIT;BEGIN;CLAIM 0 2 3;WORK 0 '2' '2'",
        "SETTLE 0 2 1;COMMIT;BEGIN;CLAIM 0 3 9;WORK 0 '3' '8'",
        "SETTLE 0 3 6;COMMIT;",
    ]
    assert [report.rows for report in reports if isinstance(report, ChunkDoneReport)] == [2, 1, 6]
    assert sum(session.server.units.values()) == 9


def test_without_a_journal_nothing_is_claimed() -> None:
    session = FakeSession(Server())
    run(session, journal=None)
    assert session.messages == ["BEGIN;WORK 0 '0' '2'", "COMMIT;"]
    assert not session.server.rows


def test_a_serial_task_sends_its_statements_in_order() -> None:
    session = FakeSession(
        Server(), answers={"SELECT 1": Result("SELECT 1", ("a",), (True,), [("1",)])}
    )
    task = prepared(1, "NOTICE one", "SELECT 1 -- end", "NOTICE two")
    (report,) = run(session, task, Range(0, 1))
    assert session.messages[0] == "BEGIN;CLAIM 0 0 1;NOTICE one\n;SELECT 1 -- end\n;NOTICE two"
    assert isinstance(report, ChunkDoneReport)
    assert [result.tag for result in report.results] == ["NOTICE one", "SELECT 1", "NOTICE two"]
    assert report.rows is None, "three statements have no one count"
    assert report.notices == (("NOTICE", "one"), ("NOTICE", "two"))


def test_a_block_that_rolls_back_leaves_nothing() -> None:
    session = FakeSession(Server())
    task = prepared(1, "WORK 0 0 4", rolls_back=True)
    (report,) = run(session, task, Range(0, 1))
    assert isinstance(report, ChunkDoneReport)
    assert session.messages[-1] == "ROLLBACK;"
    assert not session.server.units
    assert not session.server.rows


# Errors in the work ----------------------------------------------------------------------------

WORK_ERRORS = [
    ("23505", "fatal"),
    ("42P01", "fatal"),
    ("40001", "again"),
    ("40P01", "again"),
    ("53200", "halve"),
]


@pytest.mark.parametrize(("sqlstate", "disposition"), WORK_ERRORS)
@pytest.mark.parametrize("journal", [FakeJournal(), None])
def test_an_error_in_the_work_leaves_nothing(
    sqlstate: str, disposition: str, journal: FakeJournal | None
) -> None:
    session = fail_at("WORK", state(sqlstate))
    report = one_error(run(session, journal=journal))
    assert report.disposition == disposition
    assert report.statement == 0
    assert isinstance(report.error, DatabaseError)
    assert session.state == "idle"
    assert not session.server.rows
    assert not session.server.units


def test_an_error_ends_a_batch_and_what_was_done_stays_done() -> None:
    session = fail_at("WORK 0 2", state("40001"))
    fault = session.server.fault
    session.server.fault = lambda statement: fault(statement.replace("'", ""))
    reports = run(session, None, Range(0, 2), Range(2, 4), Range(4, 6))
    assert [type(report) for report in reports] == [ChunkDoneReport, ChunkErrorReport]
    assert set(session.server.rows) == {(0, 0)}


@pytest.mark.parametrize("before", [[], ["NOTICE a"], ["NOTICE a", "NOTICE bb -- c"]])
def test_the_statement_that_failed_is_named(before: list[str]) -> None:
    session = FakeSession(Server())
    task = prepared(1, *before, "  FAIL 22012", "NOTICE z")
    report = one_error(run(session, task, Range(0, 1)))
    assert isinstance(report.error, DatabaseError)
    assert report.statement == len(before)
    assert report.error.statement_offset == 2
    assert report.notices == tuple(("NOTICE", notice.removeprefix("NOTICE ")) for notice in before)


def test_an_error_in_the_opening_has_no_place_in_the_users_sql() -> None:
    session = fail_at("CLAIM", state("42501"))
    report = one_error(run(session))
    assert isinstance(report.error, DatabaseError)
    assert report.error.statement_offset is None


@pytest.mark.parametrize(
    ("timeout_ms", "disposition"), [(0, "fatal"), (1, "halve"), (60_000, "fatal")]
)
def test_a_cancel_is_a_timeout_only_when_there_is_one(timeout_ms: int, disposition: str) -> None:
    session = fail_at("WORK", state("57014"))
    session.timeout_ms = timeout_ms
    assert one_error(run(session)).disposition == disposition


@pytest.mark.parametrize(
    ("begin", "at", "disposition"),
    [
        (SNAPSHOT, "SET TRANSACTION SNAPSHOT", "renew"),
        (SNAPSHOT, "WORK", "fatal"),
        (SNAPSHOT, "CLAIM", "fatal"),
        ("BEGIN;", "CLAIM", "fatal"),
    ],
)
def test_a_snapshot_that_is_gone_is_renewed(begin: str, at: str, disposition: str) -> None:
    session = fail_at(at, state("22023"))
    assert one_error(run(session, prepared(begin=begin))).disposition == disposition


# The journal's row was there -------------------------------------------------------------------


def test_a_chunk_that_was_done_is_done() -> None:
    session = FakeSession(Server(rows={(0, 0): (3, 7)}))
    assert run(session) == [ChunkDoneReport(7, 0.0, duplicate=True)]
    assert not session.server.units
    assert session.state == "idle"


def test_a_setting_that_was_done_on_a_lost_connection_is_not_taken_for_done_on_this() -> None:
    setting = replace(prepared(), leaves=("SET a.b = 1",))
    session = FakeSession(Server(rows={(0, 0): (3, 7)}))
    run(session, setting)
    assert not session.assumed
    fresh = FakeSession(Server())
    run(fresh, setting)
    assert fresh.assumed == [(*setting.settings, "SET a.b = 1")]


def test_a_row_with_another_end_is_a_bug() -> None:
    session = FakeSession(Server(rows={(0, 0): (5, 5)}))
    report = one_error(run(session))
    assert isinstance(report.error, InternalError)
    assert report.disposition == "fatal"
    assert "[0, 5)" in report.error.message
    assert "[0, 3)" in report.error.message


def test_the_users_own_unique_violation_is_no_duplicate() -> None:
    session = fail_at("WORK", state("23505", ("public", "chunk")))
    assert one_error(run(session)).disposition == "fatal"


# COMMIT ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [prepared(), prepared(1, "NOTICE x")])
@pytest.mark.parametrize("journal", [FakeJournal(), None])
def test_a_commit_that_was_a_rollback_is_a_failure(
    task: PreparedTask, journal: FakeJournal | None
) -> None:
    session = FakeSession(Server(), answers={"COMMIT": Result("ROLLBACK")})
    report = one_error(run(session, task, Range(0, 1), journal=journal))
    assert report.disposition == "fatal"
    assert isinstance(report.error, DatabaseError)
    assert "ROLLBACK" in report.error.message


@pytest.mark.parametrize(
    ("sqlstate", "disposition"), [("23503", "fatal"), ("40001", "again"), ("23505", "fatal")]
)
def test_a_deferred_constraint_fails_the_chunk(sqlstate: str, disposition: str) -> None:
    session = fail_at("COMMIT", state(sqlstate))
    report = one_error(run(session))
    assert report.disposition == disposition
    assert isinstance(report.error, DatabaseError)
    assert report.error.statement_offset is None
    assert not session.server.units


def test_a_deferred_constraint_in_a_batch_fails_the_chunk_before() -> None:
    session = fail_at("COMMIT", state("23503"))
    report = one_error(run(session, None, Range(0, 2), Range(2, 4)))
    assert report.disposition == "fatal"
    assert not session.server.rows


@pytest.mark.parametrize(("journal", "disposition"), [(FakeJournal(), "again"), (None, "fatal")])
@pytest.mark.parametrize("carried_out", [False, True])
def test_a_connection_lost_at_commit_leaves_a_doubt(
    journal: FakeJournal | None, disposition: str, *, carried_out: bool
) -> None:
    session = fail_at("COMMIT", lost())
    if carried_out:
        session.server.after, session.server.fault = session.server.fault, lambda _: None
    report = one_error(run(session, journal=journal))
    assert report.disposition == disposition
    assert isinstance(report.error, ConnectionLostError)
    assert report.error.in_doubt
    assert bool(session.server.units) is carried_out
    if journal is not None:  # the same chunk again settles it
        (again,) = run(session, journal=journal)
        assert isinstance(again, ChunkDoneReport)
        assert again.duplicate is carried_out
        assert set(session.server.units.values()) == {1}


@pytest.mark.parametrize("at", ["BEGIN", "CLAIM", "WORK"])
@pytest.mark.parametrize("journal", [FakeJournal(), None])
def test_a_connection_lost_before_commit_leaves_none(at: str, journal: FakeJournal | None) -> None:
    if journal is None and at == "CLAIM":
        at = "WORK"
    session = fail_at(at, lost())
    report = one_error(run(session, journal=journal))
    assert report.disposition == "again"
    assert isinstance(report.error, ConnectionLostError)
    assert not report.error.in_doubt
    assert not session.server.units


@pytest.mark.parametrize("at", ["SETTLE", "COMMIT", "WORK 0 2"])
def test_a_connection_lost_in_a_batch_puts_the_chunk_before_in_doubt(at: str) -> None:
    session = fail_at("", lost())
    session.server.fault = lambda _: None
    count = [0]

    def fault(statement: str) -> None:
        if statement.replace("'", "").startswith(at):
            count[0] += 1
            if count[0] == 1:
                raise lost()

    session.server.fault = fault
    report = one_error(run(session, None, Range(0, 2), Range(2, 4)))
    assert isinstance(report.error, ConnectionLostError)
    assert report.error.in_doubt
    assert report.disposition == "again"


def test_a_connection_lost_while_rolling_back_is_tried_again() -> None:
    session = fail_at("WORK", state("40001"))
    rollback = session.rollback

    def broken() -> None:
        rollback()
        raise lost()

    session.rollback = broken  # type: ignore[method-assign]  # a connection that breaks then
    assert one_error(run(session)).disposition == "again"


# No connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlstate", "disposition", "no_connection"),
    [("53300", "again", True), (None, "fatal", False), ("28P01", "fatal", False)],
)
def test_a_server_that_gives_no_connection(
    sqlstate: str | None, disposition: str, *, no_connection: bool
) -> None:
    error = ConnectionFailedError("sorry")
    error.sqlstate = sqlstate
    report = one_error(run(FakeSession(Server(), unreachable=error)))
    assert (report.disposition, report.no_connection) == (disposition, no_connection)


def test_another_error_of_pgfans_own_is_fatal() -> None:
    session = fail_at("BEGIN", UsageError("a setting that is wrong"))
    assert one_error(run(session)).disposition == "fatal"


# Statements that are barred from transactions ---------------------------------------------------


@pytest.mark.parametrize("sqlstate", ["25001", "2D000"])
def test_a_statement_outside_of_a_transaction_runs_alone(sqlstate: str) -> None:
    session = fail_at("WORK", state(sqlstate))
    (report,) = run(session, prepared(1, "WORK 0 0 0"), Range(0, 1))
    assert session.messages[1:] == ["OUTSIDE 0;", "WORK 0 0 0", "BEGIN;CLAIM 0 0 1;COMMIT"]
    assert isinstance(report, ChunkDoneReport)
    assert session.server.outside == {0}
    assert session.server.rows == {(0, 0): (1, 1)}


@pytest.mark.parametrize("statements", [("WORK 0 0 0", "NOTICE x"), ("NOTICE x", "WORK 0 0 0")])
def test_such_a_statement_in_a_block_is_refused(statements: tuple[str, ...]) -> None:
    session = fail_at("WORK", state("25001"))
    report = one_error(run(session, prepared(1, *statements), Range(0, 1)))
    assert report.disposition == "fatal"
    assert not session.server.outside


def test_a_split_task_never_runs_outside() -> None:
    session = fail_at("WORK", state("25001"))
    assert one_error(run(session)).disposition == "fatal"
    assert not session.server.outside


@pytest.mark.parametrize("error", [lost(), state("22012")])
def test_a_failure_outside_is_final(error: Exception) -> None:
    session = fail_at("WORK", state("25001"))
    first = session.server.fault
    seen = [0]

    def fault(statement: str) -> None:
        first(statement)
        if statement.startswith("WORK"):
            seen[0] += 1
            raise error

    session.server.fault = fault
    report = one_error(run(session, prepared(1, "WORK 0 0 0"), Range(0, 1)))
    assert report.disposition == "fatal"
    assert report.error is error
    assert seen == [1]
    if isinstance(error, ConnectionLostError):
        assert error.in_doubt


# Notices ---------------------------------------------------------------------------------------


def test_notices_belong_to_their_chunk() -> None:
    session = FakeSession(Server())
    session.server.after = lambda statement: (
        session.said.append(("NOTICE", statement)) if statement.startswith("WORK") else None
    )
    reports = run(session, None, Range(0, 1), Range(1, 2))
    assert [report.notices for report in reports] == [
        (("NOTICE", "WORK 0 '0' '0'"),),
        (("NOTICE", "WORK 0 '1' '1'"),),
    ]


def test_a_commit_in_a_batch_that_was_a_rollback_is_a_failure() -> None:
    session = FakeSession(Server(), answers={"COMMIT": Result("ROLLBACK")})
    report = one_error(run(session, None, Range(0, 2), Range(2, 4)))
    assert report.disposition == "fatal"
