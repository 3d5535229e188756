"""Cancelling one chunk of a worker, and nothing that the worker runs after it.

A cancel request names a backend, not a statement: it goes over a connection of its own, and the
backend cancels whatever runs when the signal arrives. Once the server has closed that connection,
the signal is sent, and a backend that is idle by then drops it (see "Canceling Requests in
Progress" in PostgreSQL's manual, chapter Protocol). So a gate stands between each worker and
whoever cancels: it is open while a chunk's own messages run, and closing it waits for a request
that is under way. What the worker sends afterwards, its ROLLBACK included, no such request can
hit. A request that the server did not answer in time may come at any time: then the connection is
given up.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfan.ports import Session


class CancelGate:
    """The gate of one worker. `cancel` may be called from any thread, the rest by the worker."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._open = False
        self._ticket: object = None
        self._cancelled = False
        self._loose = False
        """A request is out that the server may still take."""

    def begin(self, ticket: object) -> None:
        """A job begins; `ticket` tells it from those before and after it."""
        with self._lock:
            self._ticket, self._open, self._cancelled = ticket, False, False

    def open(self) -> None:
        """What is sent from now on may be cancelled."""
        with self._lock:
            self._open = True

    def close(self) -> bool:
        """Nothing that is sent from now on will be cancelled; whether anything may have been."""
        with self._lock:
            self._open = False
            if self._loose:  # it names this backend and no other
                self._session.close()
                self._loose = False
            return self._cancelled

    def cancel(self, ticket: object) -> None:
        """Cancel what runs now, if it still belongs to the job `ticket`; never raises.

        Takes up to the session's time limit for a request, and holds the worker up until then.
        """
        with self._lock:
            if self._open and self._ticket is ticket:
                self._cancelled = True
                self._loose = not self._session.cancel() or self._loose
