"""What would become of each statement of a program, as the database is now; nothing is run.

The verdicts are those of `pgfan.postgres.analysis`; here they get what people want to see with
them: EXPLAIN's estimate, an example of a chunk, and why PostgreSQL refuses a statement whose tables
an earlier one has yet to make. Locks are held no longer than one statement is looked at.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.errors import DatabaseError
from pgfan.plan.preview import (
    DrivingKey,
    Estimate,
    ExampleChunk,
    NotYet,
    RejectedKey,
    StatementPlan,
)
from pgfan.plan.ranges import Range
from pgfan.postgres.catalog import RESOLVED
from pgfan.postgres.chosen import key_name
from pgfan.postgres.explain import explain
from pgfan.postgres.new_tables import refuse_columns
from pgfan.quoting import array, qualified
from pgfan.sql.access import made_relations, may_define, references
from pgfan.sql.creation import creation_of
from pgfan.sql.places import excerpt
from pgfan.sql.settings import is_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.plan.outline import Outline
    from pgfan.plan.task import SplitPlan
    from pgfan.postgres.analysis import Analysis, Analyst
    from pgfan.postgres.session import PostgresSession
    from pgfan.postgres.snapshot import SnapshotHolder
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.facts import Name
    from pgfan.sql.program import Program
    from pgfan.sql.reasons import Reason
    from pgfan.sql.script import ScriptItem

EXAMPLE_CHUNKS = 50
"""The example is a chunk of a statement that is cut into about so many."""
FILES = DrivingKey("files", "files", "file")
BRANCHES = DrivingKey("UNION ALL", "UNION ALL", "branches")
TITLE_CHARS_MAX = 200
_EXPLAINED = frozenset({"insert", "update", "delete", "merge", "select", "create table as"})
_UNDEFINED = frozenset({"42P01", "3F000"})
"""SQLSTATE of a relation and of a schema that do not exist."""
_MISSING = f"SELECT name FROM pg_catalog.unnest({{names}}) AS w(name) WHERE {RESOLVED} IS NULL"


class Previewer:
    """Goes through a program once, in order, and keeps what its statements will have made."""

    def __init__(
        self,
        session: PostgresSession,
        snapshots: SnapshotHolder,
        analyst: Analyst,
        chunk_rows: int | None = None,
    ) -> None:
        """`analyst` works with `session` and `snapshots`; `chunk_rows` sizes the examples."""
        self._session = self.session = session
        self._snapshots = snapshots
        self._analyst = analyst
        self._chunk_rows = chunk_rows
        self._made: dict[Name, str] = {}
        self._refused: set[str] = set()
        self._may_be_defined = False

    def plans(self, program: Program, outline: Outline | None = None) -> Iterator[StatementPlan]:
        """The plan of each item, one by one; without an outline each waits for the one before."""
        for number, item in enumerate(program.items, 1):
            if outline is None:
                yield self._plan(number, item, program)
            else:
                against = outline.objection(number - 1)
                found = self._plan(number, item, program, against)
                yield _within(outline, number - 1, found)
            for statement in item.statements if not item.rolls_back else ():
                place = f"{statement.position.source}:{statement.position.line}"
                self._made |= dict.fromkeys(made_relations(statement.tree), place)
                self._may_be_defined |= may_define(statement.tree)

    def _plan(
        self, number: int, item: ScriptItem, program: Program, against: Reason | None = None
    ) -> StatementPlan:
        text = "; ".join(statement.text for statement in item.statements)
        position = item.first.position
        plan = StatementPlan(
            str(number),
            f"{position.source}:{position.line}",
            item.kind,
            excerpt(text, TITLE_CHARS_MAX),
            "serial",
            after=(str(number - 1),) if number > 1 else (),
        )
        item = self._with_settings(item)
        try:
            analysis = self._analyse(item, against)
            creation = creation_of(item.first.tree)
            if creation is not None:
                refuse_columns(self._session, creation)
            plan = self._with_verdict(plan, analysis)
            if not item.is_block and is_setting(item.first):
                self._try_setting(item.settings, item.first.text)
            if item.kind not in _EXPLAINED:
                return plan
            found = explain(self._session, item.first.text)
            return replace(plan, estimate=Estimate(found.rows, found.cost))
        except DatabaseError as error:
            not_yet = self._not_yet(item) if error.sqlstate in _UNDEFINED else ()
            if not_yet:
                return replace(plan, not_yet=not_yet)
            placed = program.place(item, error, 0)
            return replace(plan, error=placed, may_pass=self._may_be_defined)

    def _with_settings(self, item: ScriptItem) -> ScriptItem:
        """`item` with the settings that the server takes, and those in force.

        One that it refuses is an error of the SET statement, and of no statement after it.
        """
        settings = tuple(one for one in item.settings if one not in self._refused)
        try:
            self._session.prepare(settings)
        except DatabaseError:
            taken: tuple[str, ...] = ()
            for setting in settings:
                with contextlib.suppress(DatabaseError):
                    self._try_setting(taken, setting)
                    taken += (setting,)
            settings = taken
        return replace(item, settings=settings)

    def _try_setting(self, taken: tuple[str, ...], setting: str) -> None:
        try:
            self._session.prepare((*taken, setting))
        except DatabaseError:
            self._refused.add(setting)
            raise

    def _analyse(self, item: ScriptItem, against: Reason | None) -> Analysis:
        try:
            return self._analyst.analyse(item, against=against)
        except DatabaseError as error:
            error.statement_offset = None  # it counts in SQL that the user has not written
            raise
        finally:
            self._snapshots.close()

    def _with_verdict(self, plan: StatementPlan, analysis: Analysis) -> StatementPlan:
        task = analysis.plan
        plan = replace(
            plan,
            verdict=task.verdict,
            reasons=task.reasons,
            notes=task.notes,
            hazards=task.hazards,
            statements=task.statements,
            rejected=tuple(
                RejectedKey(_by(candidate), tuple((str(r.code), r.message) for r in reasons))
                for candidate, reasons in analysis.rejected.items()
            ),
        )
        if task.split is None:
            return plan
        return replace(
            plan,
            by=_driving(analysis),
            unit=task.split.unit,
            units=task.split.total,
            example=self._example(task.split),
        )

    def _example(self, split: SplitPlan) -> ExampleChunk | None:
        """One from the middle, bounded on both sides."""
        if not split.total:
            return None
        size = split.total // EXAMPLE_CHUNKS
        if self._chunk_rows is not None:
            size = round(self._chunk_rows / split.rows_per_unit)
        size = min(split.total, max(1, size))
        lo = (split.total - size) // 2
        if split.parts:  # the last one, since those that run once come first
            last = split.parts[-1].total
            size = min(size, last)
            lo = split.total - last + (last - size) // 2
        return ExampleChunk(lo, lo + size, split.statement(Range(lo, lo + size)))

    def _not_yet(self, item: ScriptItem) -> tuple[NotYet, ...]:
        """The relations that are missing and that statements before this one make."""
        found = {
            qualified(name): NotYet(".".join(name), place)
            for name in sorted(references(item.first.tree).relations)
            for made, place in self._made.items()
            if _may_be(name, made)
        }
        if not found:
            return ()
        missing = self._session.execute(_MISSING.replace("{names}", array(list(found))))[0].rows
        return tuple(found[name] for (name,) in missing if name is not None)


def _driving(analysis: Analysis) -> DrivingKey:
    if analysis.files is not None:
        return FILES
    return _by(analysis.driving) if analysis.driving else BRANCHES


def step_id(number: int) -> str:
    """What a task, or a gate (negative), of an outline is called."""
    return str(number + 1) if number >= 0 else f"gate {-number}"


def _within(outline: Outline, number: int, plan: StatementPlan) -> StatementPlan:
    barrier = outline.accesses[number].barrier
    unjudged = any(code == "relation-unknown" for code, _ in plan.reasons)
    return replace(
        plan,
        not_yet=plan.not_yet if unjudged else (),
        after=tuple(step_id(before) for before in outline.after[number]),
        barrier=(barrier.code, barrier.message) if barrier is not None else None,
    )


def _may_be(name: Name, made: Name) -> bool:
    """Whether two names, as written, may mean one relation: search_path fills in a schema."""
    return name[-1] == made[-1] and (len(name) != len(made) or name == made)


def _by(candidate: Candidate) -> DrivingKey:
    relation = ".".join(candidate.relation or ("generate_series",))
    alias = ".".join(candidate.alias) or relation
    return DrivingKey(relation, alias, key_name(candidate))
