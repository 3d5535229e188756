"""A run of a project: what of its script must run again, and what is dropped before.

The decision is pure (`pgfan.plan.rebuild`). Here it gets what it decides on: the script as it is
read, the content of the data files, what the journal has (`pgfan.postgres.projects`) and what
exists. The drops are in the transaction that begins the run: whoever finds the run in the journal
finds them done, and nobody drops twice.

The script is read with what the database knows but for what the project has made, so that it means
the same before and after it was built. Of scripts with statements whose changes of definitions
nobody can foresee (DO, extensions) it is read once more when all is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError, RunLockedError, UsageError
from pgfan.plan.fingerprints import fingerprints_of
from pgfan.plan.preview import ProjectPlan
from pgfan.plan.rebuild import Decision, Rebuild, Task, rebuild
from pgfan.plan.sqlstate import DEPENDENT_OBJECTS
from pgfan.postgres.fence import own
from pgfan.postgres.journal import UNFINISHED
from pgfan.postgres.known import read_known
from pgfan.postgres.owned import DROPPED, Existing, drop_all, drops, existing
from pgfan.postgres.project_records import Memory, Pending
from pgfan.postgres.projects import ProjectJournal
from pgfan.postgres.runs import NewScript, abandon, begin_or_resume, session_settings, take_over
from pgfan.reading.script_digests import ScriptDigests
from pgfan.report.figures import counted
from pgfan.sql.accesses import accesses_of
from pgfan.sql.effects import ObjectName
from pgfan.sql.footprint import footprints_of
from pgfan.sql.known import without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.runs import OpenRun
    from pgfan.postgres.server import ServerFacts
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.known import KnownObjects
    from pgfan.sql.program import Program

REFUSALS_SHOWN = 5


class _Decided(Struct, frozen=True):
    tasks: tuple[Task, ...]
    found: Rebuild
    undone: tuple[int, ...]
    """Numbers in the journal of what is built no more."""
    named: tuple[Existing, ...]
    """What exists by the names that are dropped, others' objects too."""
    drops: tuple[str, ...]
    """Statements, of what the project has made alone."""
    gone: tuple[tuple[str, int], ...]
    """Catalogs and oids that are the project's no more."""
    foresees: bool
    """Whether all changes of definitions are known from the text."""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The tasks that run."""
        return tuple(n for n, one in enumerate(self.found.decisions) if one.runs)


class Rebuilding:
    """One command on the project `name`. `note` says what was decided, once it is open."""

    def __init__(self, schema: str, name: str, *, full: bool = False) -> None:
        self._lock = _lock_of(schema, name)
        self._name = name
        self._full = full
        self._projects = ProjectJournal(schema, name)
        self._program: Program | None = None
        self.note = ""
        self.as_built = 0
        """How many tasks do not run."""

    def open(
        self,
        session: PostgresSession,
        journal: PostgresJournal,
        program: Program,
        server: ServerFacts,
        run: str,
        *,
        restart: bool,
    ) -> tuple[OpenRun, Program] | None:
        """The run that builds what must be built, owned by this client; None: nothing must.

        `run` is the id of a new one. What must be dropped is dropped, unless the run was begun
        before. Raises UsageError, and has changed nothing, when that is not possible.
        """
        self._program = program
        self._projects.create(session)
        if not own(session, self._lock):
            raise _locked(self._name)
        memory = self._projects.read(session)
        script = ScriptDigests.of(program, session_settings(session), memory.files)
        if memory.pending is not None:
            record = next(iter(journal.runs(session, run=memory.pending.run)), None)
            anew = restart and memory.pending.run != run
            if (
                record is not None
                and record.state in UNFINISHED
                and not anew
                and self._is_met_by(memory.pending, script)
            ):
                chosen = program.chosen(memory.pending.numbers)
                self._say(len(chosen.items), len(program.items))
                return take_over(session, journal, record), chosen
            if record is not None:
                abandon(session, journal, record)
            session.execute("BEGIN")
            memory = self._closed(session, journal, memory.pending, memory)
            session.execute("COMMIT")
        if self._is_built(session, memory, script):
            self._say(0, len(program.items))
            return None
        decided = self._decided(session, program, script, memory, read_known(session))
        if decided.found.refusals:
            raise _refused(decided.found.refusals)
        self._say(len(decided.chosen), len(program.items), decided.drops)
        if not decided.chosen:
            self._finish(session, script, decided)
            return None
        return self._begin(session, journal, program, server, run, script, decided)

    def ended(
        self, session: PostgresSession, journal: PostgresJournal, run: str, *, done: bool
    ) -> str:
        """SQL for the transaction that ends the run, for now or because all of it is `done`."""
        memory = self._projects.read(session)
        pending = memory.pending
        if pending is None or pending.run != run:
            return ""
        changed = self._projects.changed(session, journal, memory)
        sql = self._projects.settled(session, journal, pending, changed, done=done)
        if not done or pending.fingerprints is None or self._program is None:
            return sql
        script = ScriptDigests.of(self._program, session_settings(session), memory.files)
        made = [one.name for one in (*memory.made, *changed.new) if one not in changed.gone]
        tasks, _ = _tasks(self._program, script, without(read_known(session), made))
        renewed = zip(pending.fingerprints, fingerprints_of(tasks), tasks, strict=True)
        return f"{sql}; " + self._projects.renew(
            (old, new, task.footprint) for old, new, task in renewed
        )

    def plan(
        self, session: PostgresSession, journal: PostgresJournal, program: Program
    ) -> ProjectPlan:
        """What `open` would do; nothing is changed."""
        memory, known = Memory(), False
        if journal.exists(session) and self._projects.exists(session):
            memory, known = self._projects.read(session), True
        script = ScriptDigests.of(program, session_settings(session), memory.files)
        pending = memory.pending
        exists = read_known(session)  # in a transaction of its own
        session.execute("BEGIN")
        try:
            if pending is not None:
                record = next(iter(journal.runs(session, run=pending.run)), None)
                if record and record.state in UNFINISHED and self._is_met_by(pending, script):
                    return _unfinished(program, pending)
                memory = self._closed(session, journal, pending, memory)
            if known and self._is_built(session, memory, script):
                return ProjectPlan((Decision(runs=False, reason="unchanged"),) * len(program.items))
            decided = self._decided(session, program, script, memory, exists, known=known)
        finally:
            session.rollback()
        found = decided.found
        return ProjectPlan(found.decisions, decided.drops, found.refusals)

    # ---------------------------------------------------------------------------------------------

    def _say(self, runs: int, tasks: int, drops: Sequence[str] = ()) -> None:
        self.as_built = tasks - runs
        self.note = f"none of {counted(tasks, 'task')} has to run: all are as built"
        if runs:
            self.note = f"{runs:,} of {counted(tasks, 'task')} run, {tasks - runs:,} are as built"
        if drops:
            objects = sum(one.startswith("DROP ") for one in drops)
            self.note += f"; dropped first: {counted(objects, 'object')}"

    def _closed(
        self, session: PostgresSession, journal: PostgresJournal, pending: Pending, memory: Memory
    ) -> Memory:
        """What is known once the `pending` run is given up, in the transaction that has begun."""
        changed = self._projects.changed(session, journal, memory)
        settled = self._projects.settled(session, journal, pending, changed, done=False)
        session.execute(f"{settled}; {self._projects.close()}")
        return self._projects.read(session)

    def _is_met_by(self, pending: Pending, script: ScriptDigests) -> bool:
        """Whether going on with a run is what is asked for."""
        return pending.target == script.target and (pending.full or not self._full)

    def _is_built(self, session: PostgresSession, memory: Memory, script: ScriptDigests) -> bool:
        """Whether there is nothing to do, without reading what the script touches."""
        if self._full or memory.emptied or memory.whole != script.target:
            return False
        there = existing(session, {one.name for one in memory.made})
        return memory.owned <= {(one.catalog, one.oid) for one in there}

    def _decided(
        self,
        session: PostgresSession,
        program: Program,
        script: ScriptDigests,
        memory: Memory,
        exists: KnownObjects,
        *,
        known: bool = True,
    ) -> _Decided:
        made = [one.name for one in memory.made]
        tasks, foresees = _tasks(program, script, without(exists, made))
        numbers, built = self._projects.built(session) if known else ([], [])
        names = set(made)
        names.update(*(one.footprint.makes for one in tasks))
        names.update(*(one.footprint.makes for one in built))
        there = existing(session, names)
        oids = {(one.catalog, one.oid) for one in there}
        found = rebuild(
            tasks,
            built,
            foreign={one.name for one in there if (one.catalog, one.oid) not in memory.owned},
            missing={one.name for one in memory.made if (one.catalog, one.oid) not in oids},
            full=self._full,
        )
        at = {name: place for place, name in enumerate(found.dropped)}
        dropped = sorted(existing(session, at), key=lambda one: at[one.name])
        gone = [
            (one.catalog, one.oid)
            for one in memory.made
            if one.name in at or one.name._replace(schema=None) in at
        ]
        cannot = [
            f"pgfan drops no {name.kind}, and {name.name} would have to be made again"
            for name in found.dropped
            if name.kind not in DROPPED
        ]
        return _Decided(
            tasks,
            Rebuild(
                found.decisions,
                found.fingerprints,
                found.dropped,
                found.undone,
                (*found.refusals, *cannot),
            ),
            tuple(numbers[index] for index in found.undone),
            tuple(dropped),
            tuple(drops(session, dropped, memory.owned)),
            tuple(gone),
            foresees,
        )

    def _begin(
        self,
        session: PostgresSession,
        journal: PostgresJournal,
        program: Program,
        server: ServerFacts,
        run: str,
        script: ScriptDigests,
        decided: _Decided,
    ) -> tuple[OpenRun, Program]:
        chosen = program.chosen(decided.chosen)
        tasks = [decided.tasks[number] for number in decided.chosen]
        fingerprints = decided.found.fingerprints
        makes = frozenset[ObjectName]().union(*(one.footprint.makes for one in tasks))
        before = {(one.catalog, one.oid) for one in existing(session, makes)}
        pending = Pending(
            run,
            script.target,
            self._full,
            decided.chosen,
            tuple(sorted(before.difference(decided.gone))),
            None if decided.foresees else fingerprints,
        )

        def first() -> None:
            self._drop(session, decided)
            pairs = [(fingerprints[number], decided.tasks[number]) for number in decided.chosen]
            self._projects.begin(session, pending, pairs, decided.undone, decided.gone)
            session.execute(self._projects.keep_files(script.looked_at))

        record = {**chosen.to_json(), "project": self._name}
        begun = NewScript(chosen.title, (self._lock, run), record, run)
        opened = begin_or_resume(session, journal, begun, server, restart=False, first=first)
        return opened, chosen

    def _finish(self, session: PostgresSession, script: ScriptDigests, decided: _Decided) -> None:
        """Nothing runs: what no task makes any more is dropped, and that is all."""
        session.execute("BEGIN")
        self._drop(session, decided)
        session.execute(
            f"{self._projects.undo(decided.undone, decided.gone)}; "
            f"{self._projects.keep_files(script.looked_at)}; "
            f"{self._projects.set_whole(script.target)}; COMMIT"
        )

    def _drop(self, session: PostgresSession, decided: _Decided) -> None:
        """Drop in the transaction that has begun.

        Raises UsageError for what others depend on, or have dropped and made since it was decided.
        """
        if set(existing(session, decided.found.dropped)) != set(decided.named):
            session.rollback()
            raise UsageError(
                f"what project {self._name} has to drop changed meanwhile",
                hint="nothing was changed; run the same command again",
            )
        try:
            drop_all(session, decided.drops)
        except DatabaseError as error:
            session.rollback()
            if error.sqlstate != DEPENDENT_OBJECTS:
                raise
            detail = f": {error.detail}" if error.detail else ""
            raise UsageError(
                f"{error.message}{detail}",
                hint="the project has not made what depends on it, so pgfan does not drop that; "
                "nothing was changed",
            ) from error


def forget_project(session: PostgresSession, schema: str, name: str) -> None:
    """Delete all that the journal has of a project, but for its runs; what it has made stays.

    Raises UsageError when there is no such project, RunLockedError when it is being built.
    """
    if not own(session, _lock_of(schema, name)):
        raise _locked(name)
    if not ProjectJournal(schema, name).forget(session):
        raise UsageError(f"the journal knows no project {name}")


def _lock_of(schema: str, name: str) -> str:
    return f"project {schema} {name}"


def _locked(name: str) -> RunLockedError:
    return RunLockedError(
        f"project {name} is being built by another client",
        hint="wait for it, or stop that process; then run the same command again",
    )


def _tasks(
    program: Program, script: ScriptDigests, known: KnownObjects
) -> tuple[tuple[Task, ...], bool]:
    """The tasks as a rebuild has them, and whether all changes of definitions are foreseen."""
    accesses = accesses_of(program.items, known)
    footprints = footprints_of(program.items, accesses)
    tasks = tuple(
        Task(text, item.source, footprint, files)
        for item, text, files, footprint in zip(
            program.items, script.texts, script.files, footprints, strict=True
        )
    )
    return tasks, not any(one.is_opaque for one in accesses)


def _unfinished(program: Program, pending: Pending) -> ProjectPlan:
    numbers = set(pending.numbers)
    return ProjectPlan(
        tuple(
            Decision(True, f"of the unfinished run {pending.run}")
            if number in numbers
            else Decision(False, "unchanged")
            for number in range(len(program.items))
        ),
        unfinished=pending.run,
    )


def _refused(refusals: Sequence[str]) -> UsageError:
    shown = list(refusals[:REFUSALS_SHOWN])
    if len(refusals) > len(shown):
        shown.append(f"and {len(refusals) - len(shown):,} more: pgfan plan --project shows them")
    return UsageError(
        "what was built cannot be taken back: " + "\n".join(shown),
        hint="drop by hand what is to be made anew and `pgfan forget --project NAME`: "
        "the next run builds all of it",
    )
