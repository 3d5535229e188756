"""The server behind `--embedded DIR`: made when DIR is new, started, shared, and stopped at exit.

A server goes through four steps under one lock (`ServerFolder.locked`): DIR is checked, initdb
fills it, the postmaster starts, this process joins its users. The last user to leave stops it. A
postmaster that a killed pgfan left behind is found through postmaster.pid and joined as any other.
Servers that pgfan did not make are refused, never configured.

What may lie in DIR is in `embedded_folder`, how programs are run in `embedded_process`, who has a
lock file in `embedded_postmaster`, the settings in `embedded_settings`. See the PostgreSQL manual,
"Server Setup and Operation".
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Literal, Self

from psycopg.conninfo import make_conninfo

from pgfan.errors import ConnectionFailedError, InternalError, PgfanError, UsageError
from pgfan.postgres.embedded_folder import FolderState, ServerFolder
from pgfan.postgres.embedded_postmaster import (
    Holder,
    Postmaster,
    answers,
    discard_stale_lock,
    first_line,
    holder,
    orphans_at_work,
)
from pgfan.postgres.embedded_process import (
    Account,
    ServerBinaries,
    last_lines,
    next_step,
    open_programs,
    open_the_way,
    run_as,
)
from pgfan.postgres.embedded_settings import (
    Machine,
    building_settings,
    connection_settings,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["EmbeddedServer", "ServerBinaries"]

PORT = 5432
INITDB_TIMEOUT_S = 300
# Crash recovery reads at most max_wal_size (8 GB) of WAL.
START_TIMEOUT_S = 300
# What a backend in the midst of a query may need to see that its postmaster is dead. Later the
# server itself is asked to start, and says what is in its way.
ORPHANS_TIMEOUT_S = 30
STOP_TIMEOUT_S = 300
# What another process may hold the lock for, with something to spare.
LOCK_TIMEOUT_S = INITDB_TIMEOUT_S + START_TIMEOUT_S + 30
# pg_ctl keeps its own time; only a pg_ctl that hangs is ended after this much more.
PG_CTL_SPARE_S = 30
POLL_S = 0.02

logger = logging.getLogger(__name__)


class EmbeddedServer:
    """A PostgreSQL server in a folder of its own, on a Unix socket only; a context manager.

    `settings` override those of `embedded_settings` (tests). `user` is the system user that the
    server of a new folder runs as when pgfan is root; an existing folder's owner runs it always.
    With `stop_at_exit` false the server outlives this process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binaries: ServerBinaries | None = None,
        settings: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_at_exit: bool = True,
    ) -> None:
        self.binaries = binaries if binaries is not None else ServerBinaries.packaged()
        self.reused = False
        """Whether `start` found the server running."""
        self._folder = ServerFolder(folder)
        self._overrides = dict(settings or {})
        self._user = user
        self._stop_at_exit = stop_at_exit
        self._account: Account | None = None
        self._users: int | None = None
        self._process = os.getpid()
        self._address: Postmaster | None = None

    @property
    def folder(self) -> Path:
        """DIR, absolute."""
        return self._folder.path

    @property
    def major_version(self) -> int:
        """18 for PostgreSQL 18.6."""
        return self.binaries.major_version

    @property
    def dsn(self) -> str:
        """Connection string of libpq for the database postgres as the superuser postgres."""
        return make_conninfo(
            host=str(self.socket_dir), port=self.port, user="postgres", dbname="postgres"
        )

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's socket; only after `start`."""
        return self._started().socket_dir

    @property
    def port(self) -> int:
        """The number in the socket's name; the server listens on no TCP port."""
        return self._started().port

    @property
    def pid(self) -> int | None:
        """The postmaster's process number; None when the server does not run."""
        postmaster = self._running()
        return postmaster.pid if postmaster else None

    def _started(self) -> Postmaster:
        if self._address is None:
            raise InternalError("the embedded server was asked for its address before start()")
        return self._address

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release_quietly()

    def start(self) -> None:
        """Have the server running and count this process among its users.

        Makes the server when DIR is new or empty; joins one that runs already. Waits for crash
        recovery up to START_TIMEOUT_S; a server that needs longer goes on recovering and is joined
        next time. A running server keeps the settings that it started with. UsageError when DIR is
        not pgfan's to use; ConnectionFailedError when the server cannot be made or does not start.
        """
        account = self._choose_account(self._folder.state(self.major_version))
        self._folder.make(account)
        if os.geteuid() == 0:
            open_the_way(self.folder, account)
            open_programs(self.binaries, account)
        self._account = account
        try:
            with self._folder.locked(account, LOCK_TIMEOUT_S) as lock:
                if self._folder.state(self.major_version) is not FolderState.READY:
                    self._initialise(account, lock)
                self._join(account)
                self._address = self._launch_or_adopt(account)
        except ConnectionFailedError:
            self._leave(stop=False)
            raise
        except BaseException:
            # Ctrl-C while the server starts: nobody else would stop it.
            self._release_quietly()
            raise

    def _join(self, account: Account) -> None:
        if self._users is None:
            self._users = self._folder.join(account)
            self._process = os.getpid()
            atexit.register(self._release_quietly)

    def release(self) -> None:
        """Leave the server; stop it when nobody else uses it (never when not `stop_at_exit`)."""
        self._leave(stop=self._stop_at_exit)

    def _leave(self, *, stop: bool) -> None:
        atexit.unregister(self._release_quietly)
        users, self._users = self._users, None
        if users is None or self._account is None or os.getpid() != self._process:
            return  # never joined, or a fork of the process that did
        try:
            if stop:
                with self._folder.locked(self._account, LOCK_TIMEOUT_S):
                    if self._folder.is_last(users):
                        self._stop_locked(self._account, "fast")
        finally:
            os.close(users)

    def _release_quietly(self) -> None:
        """Leave at the end of the work, which has its own outcome: a failure here is a warning."""
        try:
            self.release()
        except PgfanError as error:
            logger.warning("the embedded server was not stopped: %s", error)

    def stop(self, mode: Literal["fast", "immediate", "smart"] = "fast") -> None:
        """Stop the server whoever else uses it; does nothing when it does not run.

        "immediate" is a crash: the next start recovers, and unlogged tables come back empty.
        """
        if self._running() is None:
            return
        account = self._account
        if account is None:
            account = self._choose_account(self._folder.state(self.major_version))
        with self._folder.locked(account, LOCK_TIMEOUT_S):
            self._stop_locked(account, mode)

    def _choose_account(self, state: FolderState) -> Account:
        """Whom the server runs as: the owner of its data folder, or for a new one as told."""
        owner = self._folder.owner()
        if state is not FolderState.READY or owner is None:
            return Account.for_new_server(self._user)
        account = Account.of_uid(*owner)
        if os.geteuid() not in {0, account.uid}:
            raise UsageError(
                f"the server in {self.folder} belongs to {account.name}",
                hint="run pgfan as that user, or name another folder",
            )
        if account.uid == 0:
            raise UsageError(
                f"{self._folder.data} belongs to root, and PostgreSQL refuses to run as root",
                hint=f"give it back to the user that it was made for: chown -R USER {self.folder}",
            )
        return account

    def _initialise(self, account: Account, lock: int) -> None:
        """Run initdb; the marker says that it is complete only once it is.

        initdb inherits the lock: when pgfan is killed meanwhile, the next one waits for the
        initdb that goes on, and does not clean up under its feet.
        """
        self._folder.begin(account)
        command = [self.binaries.program("initdb"), f"--pgdata={self._folder.data}"]
        command += ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
        command += ["--encoding=UTF8", "--no-instructions", *self._locale_options()]
        outcome = run_as(
            account, command, folder=self.folder, timeout_s=INITDB_TIMEOUT_S, keep=lock
        )
        if outcome.code != 0:
            self._folder.abandon()
            raise ConnectionFailedError(
                f"initdb could not make a server in {self.folder}:\n{outcome.output}",
                hint=next_step(
                    outcome.output, "mend what initdb names and run the same command again"
                ),
            )
        self._folder.include_settings(account)
        self._folder.finish(account)

    def _locale_options(self) -> list[str]:
        """Code point order and Unicode's upper and lower case, the same on every machine.

        Comparing bytes is the fastest order there is, and no update of the C library or of ICU
        can change it under an index. PostgreSQL has it built in from 17 on; before, the C library
        must have it.
        """
        if self.major_version >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"]

    def _running(self) -> Postmaster | None:
        """The postmaster of this folder, whatever it is about; None when there is none."""
        postmaster = Postmaster.read(self._folder.data)
        if postmaster is None:
            return None
        who = holder(postmaster.pid, self._folder.data)
        return postmaster if who in {Holder.THIS_SERVER, Holder.UNKNOWN} else None

    def _launch_or_adopt(self, account: Account) -> Postmaster:
        """The server's address once it takes connections."""
        begin = time.monotonic()
        deadline = begin + START_TIMEOUT_S
        orphans_deadline = begin + ORPHANS_TIMEOUT_S
        self.reused = True
        while time.monotonic() < deadline:
            postmaster = self._running()
            if postmaster is None:
                lock = self._folder.data / "postmaster.pid"
                if orphans_at_work(lock) and time.monotonic() < orphans_deadline:
                    time.sleep(POLL_S)
                    continue
                self.reused = False
                self._launch(account)
            elif postmaster.status == "ready":
                self._check_socket(postmaster)
                return postmaster
            else:
                # A killed pgfan's server that still starts, recovers or stops.
                time.sleep(POLL_S)
        raise ConnectionFailedError(
            f"the server in {self.folder} has not come up within {START_TIMEOUT_S} s",
            hint=f"crash recovery goes on by itself; look at {self._folder.log} and run the same "
            "command again",
        )

    def _check_socket(self, postmaster: Postmaster) -> None:
        socket = postmaster.socket_dir / f".s.PGSQL.{postmaster.port}"
        if not answers(socket):
            raise ConnectionFailedError(
                f"the server in {self.folder} runs (process {postmaster.pid}), but nobody answers "
                f"on its socket {socket}: the socket was removed, or the folder moved",
                hint=f"stop the server with `kill -INT {postmaster.pid}` and run the same "
                "command again",
            )

    def _launch(self, account: Account) -> None:
        """Configure the server and run pg_ctl start; it may still recover when this returns."""
        discard_stale_lock(self._folder.data / "postmaster.pid", self._folder.data)
        socket_dir = self._folder.socket_dir(account, PORT)
        self._claim_socket(socket_dir / f".s.PGSQL.{PORT}")
        settings = (
            *connection_settings(PORT, socket_dir),
            *building_settings(Machine.measure(self.folder), self.major_version),
        )
        self._folder.replace(self._folder.settings, render(settings, self._overrides), account)
        log_begin = self._folder.rotate_log()
        command = [self.binaries.program("pg_ctl"), "start", f"--pgdata={self._folder.data}"]
        command += [f"--log={self._folder.log}", "--wait", f"--timeout={START_TIMEOUT_S}"]
        outcome = run_as(
            account, command, folder=self.folder, timeout_s=START_TIMEOUT_S + PG_CTL_SPARE_S
        )
        # Another pg_ctl may have been first: one whose pgfan was killed before it was done.
        if outcome.code != 0 and self._running() is None:
            said = self._folder.log_since(log_begin) or outcome.output
            raise ConnectionFailedError(
                f"the server in {self.folder} did not start:\n{last_lines(said)}",
                hint=next_step(said, f"the whole log is {self._folder.log}"),
            )

    def _claim_socket(self, path: Path) -> None:
        """Make sure that nobody has the socket, of whom postmaster.pid does not tell.

        That is a server of another container on a shared folder, whose process numbers mean
        nothing here, or a server that was told by hand to listen there.
        """
        lock = path.with_name(path.name + ".lock")
        if answers(path):
            raise ConnectionFailedError(
                f"another server already listens on {path} (process {first_line(lock)})",
                hint="stop that server, or name another folder",
            )
        discard_stale_lock(lock, self._folder.data)

    def _stop_locked(self, account: Account, mode: str) -> None:
        postmaster = self._running()
        if postmaster is None:
            return
        command = [self.binaries.program("pg_ctl"), "stop", f"--pgdata={self._folder.data}"]
        command += [f"--mode={mode}", "--wait", f"--timeout={STOP_TIMEOUT_S}"]
        outcome = run_as(
            account, command, folder=self.folder, timeout_s=STOP_TIMEOUT_S + PG_CTL_SPARE_S
        )
        if outcome.code != 0 and self._running() is not None:
            raise ConnectionFailedError(
                f"the server in {self.folder} did not stop:\n{outcome.output}",
                hint=f"it may still be writing a checkpoint; look at {self._folder.log}",
            )
        if postmaster.socket_dir != self.folder:
            with contextlib.suppress(OSError):
                postmaster.socket_dir.rmdir()
