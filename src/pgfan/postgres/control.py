"""How a run is told to change its number of workers, from anywhere that reaches the server.

The session that owns a run listens to a channel that is named after its owner's token: the token
is in the journal, so whoever may read that may tell the run, and it changes with each client that
takes the run over. A notification reaches an idle session by itself: only a socket is polled.
See NOTIFY in PostgreSQL's manual, and docs/decisions/0011 for the other ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import UsageError
from pgfan.plan.scaling import JOBS_MAX
from pgfan.postgres.fence import lock_key, owner_guard
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.records import RunRecord
    from pgfan.postgres.session import PostgresSession

AUTO = "auto"


class RunControl:
    """Implements `pgfan.ports.Control` on the owner's session."""

    def __init__(self, session: PostgresSession) -> None:
        self._session = session

    def heard(self) -> list[int | None]:
        """See `pgfan.ports.Control.heard`."""
        wishes: list[int | None] = []
        for text in self._session.notifications():
            if text == AUTO:
                wishes.append(None)
            elif text.isascii() and text.isdigit() and int(text) <= JOBS_MAX:
                wishes.append(int(text))
        return wishes


def attend(session: PostgresSession, journal: PostgresJournal, run: str, owner: str) -> None:
    """Have the session that owns a run hear what is told to it, now and when it connects again.

    It then notices, too, when another client has taken the run over, and raises RunLockedError.
    """
    guard = owner_guard(journal, run, owner)

    def listen(session: PostgresSession) -> None:
        session.execute(f"LISTEN {identifier(_channel(owner))}")

    def hear(session: PostgresSession) -> None:
        guard(session)
        listen(session)

    session.on_connect = hear
    again_when_lost(lambda: listen(session))


def tell(
    session: PostgresSession, journal: PostgresJournal, run: str | None, jobs: int | None
) -> str:
    """Tell a run that is being worked on (the only one, or `run`) its new number; the run's id.

    `jobs` 0 is a pause, None auto. Raises UsageError when there is no such run, or when nobody
    works on it.
    """
    found = journal.runs(session, run=run, states=("running",)) if journal.exists(session) else []
    alive = [record for record in found if _is_owned(session, record)]
    if not alive:
        which = f"run {run}" if run is not None else "any run of this database"
        raise UsageError(
            f"nobody is working on {which}", hint="`pgfan status` lists runs, resume goes on"
        )
    if len(alive) > 1:
        ids = ", ".join(record.id for record in alive)
        raise UsageError(f"{len(alive)} runs are being worked on: {ids}", hint="name one of them")
    chosen = alive[0].id
    owner = journal.owner_of(session, chosen) or ""
    text = AUTO if jobs is None else str(jobs)
    session.execute(f"SELECT pg_catalog.pg_notify({literal(_channel(owner))}, {literal(text)})")
    return chosen


def _is_owned(session: PostgresSession, record: RunRecord) -> bool:
    """Whether a client holds the owner's lock of the run now."""
    key = lock_key("owner", record.id)
    taken = session.execute(f"SELECT pg_catalog.pg_try_advisory_xact_lock({key})")[0].rows
    return taken[0][0] != "t"


def _channel(owner: str) -> str:
    return f"pgfan_{owner}"
