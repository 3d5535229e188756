"""A cancel reaches the chunk that it was meant for, and no statement after it."""

from __future__ import annotations

import threading

import pytest
from fake_server import Clock, FakeJournal, FakeSession, Server, lost, prepared

from pgfan.errors import DatabaseError
from pgfan.execute.cancelling import CancelGate
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport, Report, run_chunks
from pgfan.plan.ranges import Range

CANCELED = "57014"


def gate_of(session: FakeSession, ticket: object = "job") -> CancelGate:
    gate = CancelGate(session)
    gate.begin(ticket)
    return gate


def test_only_an_open_gate_of_the_same_job_lets_a_cancel_through() -> None:
    session = FakeSession(Server())
    gate = gate_of(session)
    gate.cancel("job")  # nothing of it has been sent yet
    gate.open()
    gate.cancel("another job")
    assert (session.cancelled, gate.close()) == (0, False)
    gate.cancel("job")
    assert session.cancelled == 0
    gate.open()
    gate.cancel("job")
    assert (session.cancelled, gate.close()) == (1, True)
    gate.begin("next")
    assert not gate.close()


def test_closing_waits_for_a_request_that_is_under_way() -> None:
    session = FakeSession(Server())
    gate = gate_of(session)
    gate.open()
    asked, answered, closed = threading.Event(), threading.Event(), threading.Event()

    def cancel() -> bool:
        asked.set()
        session.cancelled += 1
        return answered.wait(10)

    session.cancel = cancel  # type: ignore[method-assign]
    canceller = threading.Thread(target=gate.cancel, args=("job",))
    canceller.start()
    assert asked.wait(10)

    def close() -> None:
        assert gate.close()
        closed.set()

    worker = threading.Thread(target=close)
    worker.start()
    assert not closed.wait(0.02)
    answered.set()
    assert closed.wait(10)
    canceller.join()
    worker.join()
    assert session.cancelled == 1


def run_with(fault: str, error: BaseException, *, cancelled: bool) -> tuple[Report, FakeSession]:
    """A chunk during whose statement `fault` a cancel is sent (or not), and `error` comes back."""
    server = Server()
    session = FakeSession(server)
    gate = gate_of(session)

    def fail(statement: str) -> None:
        if statement.startswith(fault):
            if cancelled:
                gate.cancel("job")
            raise error

    server.fault = fail
    (report,) = run_chunks(session, FakeJournal(), prepared(), [Range(0, 3)], Clock(), gate)
    assert server.units.total() == 0
    gate.cancel("job")
    assert session.cancelled == cancelled, "a cancel came through after the chunk's end"
    return report, session


@pytest.mark.parametrize("fault", ["BEGIN", "CLAIM", "WORK", "SETTLE", "COMMIT"])
def test_a_chunk_that_was_cancelled_to_be_shared_out(fault: str) -> None:
    error = DatabaseError("canceling statement due to user request", sqlstate=CANCELED)
    report, session = run_with(fault, error, cancelled=True)
    assert isinstance(report, ChunkErrorReport)
    assert report.disposition == "cancelled"
    assert session.state == "idle"


@pytest.mark.parametrize("fault", ["CLAIM", "WORK", "SETTLE", "COMMIT"])
def test_somebody_else_s_cancel_ends_the_task(fault: str) -> None:
    report, _ = run_with(fault, DatabaseError("by an admin", sqlstate=CANCELED), cancelled=False)
    assert isinstance(report, ChunkErrorReport)
    assert report.disposition == "fatal"


@pytest.mark.parametrize(
    ("error", "disposition"),
    [
        (DatabaseError("division by zero", sqlstate="22012"), "fatal"),
        (DatabaseError("deadlock detected", sqlstate="40P01"), "again"),
        (lost(), "again"),
    ],
    ids=["fatal", "again", "in doubt"],
)
def test_another_error_than_the_cancel_s_decides(error: Exception, disposition: str) -> None:
    report, _ = run_with("WORK", error, cancelled=True)
    assert isinstance(report, ChunkErrorReport)
    assert report.disposition == disposition


def test_a_cancel_that_comes_too_late_leaves_the_chunk_committed() -> None:
    server = Server()
    session = FakeSession(server)
    gate = gate_of(session)
    server.after = lambda statement: gate.cancel("job") if statement == "COMMIT" else None
    (report,) = run_chunks(session, FakeJournal(), prepared(), [Range(0, 3)], Clock(), gate)
    assert isinstance(report, ChunkDoneReport)
    assert session.cancelled == 1
    assert set(server.units.values()) == {1}


def test_a_connection_with_a_request_at_large_is_given_up() -> None:
    session = FakeSession(Server(), cancel_answered=False)
    gate = gate_of(session)
    gate.open()
    gate.cancel("job")
    assert session.closed == 0
    assert gate.close()
    assert session.closed == 1
    gate.begin("next")
    gate.close()
    assert session.closed == 1
