"""A statement and a live server to a task's plan: verdict, key, domain, and the SQL around them.

The rules are in `pgfan.sql.distribute`; here the server is asked what they need to know, the
driving relation is chosen, and its extent is measured. Whatever the server refuses on the way is
left to the statement itself, run on one connection, to report.
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from pgfan.errors import DatabaseError
from pgfan.plan.task import SplitPlan, TaskPlan
from pgfan.postgres import own_settings
from pgfan.postgres.branches import Cuttable, Cutter, divide, first_that_works
from pgfan.postgres.catalog import read_facts
from pgfan.postgres.choosing import Chooser, Rejected, SplitOptions
from pgfan.postgres.chosen import Chosen, Cut, template_of
from pgfan.postgres.expressions import with_wanted
from pgfan.postgres.native import native_statements
from pgfan.postgres.server import transaction_time
from pgfan.postgres.target import (
    SMALL_COST,
    FirstLook,
    cost_if_worth,
    find_target,
    first_look,
    small_objection,
    target_is_unlogged,
)
from pgfan.postgres.weighing import Weigher
from pgfan.postgres.worth import source_names
from pgfan.sql.access import references
from pgfan.sql.assemble import assemble
from pgfan.sql.creation import aimed_at, creation_of, writes_unlogged
from pgfan.sql.distribute import Serial, Split, distribute
from pgfan.sql.facts import CatalogFacts
from pgfan.sql.judged import Judged
from pgfan.sql.reasons import Reason
from pgfan.sql.render import RenderError
from pgfan.sql.shape import may_be_split
from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgfan.plan.task import NewTable
    from pgfan.postgres.explain import Explained
    from pgfan.postgres.script_files import FileTask
    from pgfan.postgres.session import PostgresSession
    from pgfan.postgres.snapshot import Snapshot, SnapshotHolder
    from pgfan.sql.branches import Branches
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.rewrite import Template
    from pgfan.sql.script import ScriptItem, Statement

TRIES_MAX = 3
_OF_NAMES = ("42", "3F", "XX000")
"""SQLSTATE of errors in names, types and privileges; a lookup of what was just dropped is the last.
The statement itself reports them better, if it has them too."""
_TAGS = {
    "InsertStmt": "INSERT 0",
    "UpdateStmt": "UPDATE",
    "DeleteStmt": "DELETE",
    "MergeStmt": "MERGE",
}


class Analysis(Struct, frozen=True):
    """A plan, and the snapshot that its chunks share; None when it is not split."""

    plan: TaskPlan
    snapshot: Snapshot | None = None
    driving: Candidate | None = None
    """What the split divides."""
    rejected: Mapping[Candidate, tuple[Reason, ...]] = field(default_factory=dict)
    """What was not taken, and why."""
    files: FileTask | None = None
    """The client's files that its chunks read."""

    @property
    def is_small(self) -> bool:
        """Whether it is over before anything could make it faster."""
        return any(code == "small" for code, _ in self.plan.reasons)


class _Work(Struct, frozen=True):
    """What all ways to split one statement have in common; `plan` lacks what one of them adds."""

    facts: CatalogFacts
    frozen_at: str
    plan: Callable[..., SplitPlan]
    rejected: Rejected
    creates: NewTable | None
    alone: Explained
    """What EXPLAIN says of one query."""


class Analyst:
    """Analyses items with a session of its own, which must be at the item's settings."""

    def __init__(
        self,
        session: PostgresSession,
        snapshots: SnapshotHolder,
        options: SplitOptions,
        server_refuses_split: str | None,
    ) -> None:
        self._session = self.session = session
        self._snapshots = snapshots
        self._options = options
        self._chooser = Chooser(session, options)
        self._refuses = server_refuses_split
        self._judged_before = Judged()

    def analyse(
        self, item: ScriptItem, hidden: str = "pgfan_new", against: Reason | None = None
    ) -> Analysis:
        """The plan for one item. A snapshot that it needs is open in the holder afterwards.

        `hidden` is the name under which a new table is to be filled, `against` what else speaks
        against a split.
        """
        directed = item.directives.by if item.directives is not None else None
        if directed is not None and directed != self._options.by:
            options = replace(self._options, by=directed)
            asked = Analyst(self._session, self._snapshots, options, self._refuses)
            return asked.analyse(item, hidden, against)
        objection = against or self._objection_by_request(item)
        statement = item.first
        if statement.reads_client_file and not item.is_block:
            return self._from_files(item, objection)
        if objection is not None:
            unlogged = not item.is_block and target_is_unlogged(self._session, item)
            return _serial(objection, unlogged=unlogged)
        if not may_be_split(statement.tree):
            refused = distribute(statement.tree, CatalogFacts())
            reasons = refused.reasons if isinstance(refused, Serial) else ()
            return _serial(*reasons, unlogged=target_is_unlogged(self._session, item))
        self._session.prepare(item.settings)
        look = None if self._options.closely else first_look(self._session, statement)
        if look is not None and look.unlogged is not None and self._options.split == "auto":
            small = small_objection(look.found)
            if small is not None:
                return _serial(small, unlogged=look.unlogged)
        facts = self._facts(statement)
        try:
            found = self._settled(item, facts, hidden, look)
        except DatabaseError as error:
            # Something was dropped or altered meanwhile, or the role may not do what a split takes.
            if not error.sqlstate.startswith(_OF_NAMES):
                raise
            self._session.rollback()
            self._snapshots.close()
            why = Reason("explain", f"the analysis failed: {error.message}")
            return _serial(why, unlogged=_writes_unlogged(statement, facts))
        if found.plan.verdict == "split" or found.is_small or item.seeded or self._refuses:
            return found
        cost = look.found.cost if look is not None else None
        statements = native_statements(self._session, statement, facts, cost)
        if statements is None:
            return found
        return replace(found, plan=replace(found.plan, verdict="native", statements=statements))

    def analyse_after_others(self, item: ScriptItem, hidden: str) -> Analysis:
        """As `analyse`, where the statements before it ran in the analyst's session.

        What their code has set there is not to be had on other connections.
        """
        found = self.analyse(item, hidden)
        if found.snapshot is None or not own_settings.differ(
            self._session, self._snapshots.session
        ):
            return found
        self._snapshots.close()
        return _serial(own_settings.OBJECTION, unlogged=found.plan.unlogged)

    def _from_files(self, item: ScriptItem, objection: Reason | None) -> Analysis:
        r"""What becomes of \\copy ... FROM a file. Its table is locked and looked at once more."""
        from pgfan.postgres.script_files import look  # few statements read files

        self._session.prepare(item.settings)
        see = partial(look, self._session, item, self._options, self._refuses, objection)
        found = see()
        if not isinstance(found, Reason):
            split = found.plan.split
            target = split.target if split is not None else None
            snapshot = self._snapshots.open(item.settings, target, ())
            found = see()
            if not isinstance(found, Reason):
                return Analysis(found.plan, snapshot, files=found)
            self._snapshots.close()
        return _serial(found, unlogged=target_is_unlogged(self._session, item))

    def _facts(self, statement: Statement) -> CatalogFacts:
        facts = read_facts(self._session, references(statement.tree), self._refuses)
        if self._options.by is not None:
            facts = with_wanted(self._session, facts, self._options.by)
        return facts

    def _settled(
        self, item: ScriptItem, facts: CatalogFacts, hidden: str, look: FirstLook | None
    ) -> Analysis:
        """A verdict on the relations as they are once they are locked."""
        for _ in range(TRIES_MAX):
            found = self._judged(item, facts, hidden, look)
            if found.snapshot is None:
                return found
            before, facts = facts, self._facts(item.first)
            if facts.allows_what(before):
                return found
            self._snapshots.close()
        why = Reason("explain", "its relations are altered faster than they are looked at")
        return _serial(why, unlogged=_writes_unlogged(item.first, facts))

    def _judged(
        self, item: ScriptItem, facts: CatalogFacts, hidden: str, look: FirstLook | None
    ) -> Analysis:
        statement = item.first
        unlogged = _writes_unlogged(statement, facts)
        if self._options.atomic and creation_of(statement.tree) is None:
            why = "--atomic: a split statement is not atomic while it runs"
            return _serial(Reason("atomic", why), unlogged=unlogged)
        if item.seeded and any(name[-1].startswith("random") for name in facts.functions):
            seeded = Reason("function-volatile", "random() was seeded: one session must draw all")
            return _serial(seeded, unlogged=unlogged)
        verdict = self._judged_before.verdict(statement.text, lambda: statement.tree, facts)
        rejected = dict(verdict.rejected)
        if isinstance(verdict, Serial):
            found = _serial(*verdict.reasons, unlogged=unlogged)
        else:
            try:
                found = self._split(item, verdict, facts, rejected, hidden, look)
            except RenderError as error:
                found = _serial(Reason("deparse", str(error)), unlogged=verdict.unlogged)
        return replace(found, rejected=rejected)

    def _objection_by_request(self, item: ScriptItem) -> Reason | None:
        if item.is_block:
            return Reason("transaction-block", "a transaction block is one transaction")
        if item.directives is not None and item.directives.is_serial:
            return Reason("asked-serial", "-- pgfan: serial")
        if self._options.split == "never":
            return Reason("asked-serial", "--split never")
        return None

    def _split(
        self,
        item: ScriptItem,
        split: Split,
        facts: CatalogFacts,
        rejected: Rejected,
        hidden: str,
        look: FirstLook | None,
    ) -> Analysis:
        statement = item.first
        target = find_target(self._session, statement, facts, hidden)
        if isinstance(target, Reason):
            return _serial(target, unlogged=split.unlogged)
        if target.creates is not None:
            split = split.with_tree(aimed_at(split.tree, target.creates.schema, hidden))
        alone = cost_if_worth(
            self._session,
            statement,
            target,
            unlogged=split.unlogged,
            jobs=self._options.jobs,
            forced=self._options.split == "always",
            look=look,
        )
        if isinstance(alone, Reason):
            return _serial(alone, unlogged=split.unlogged)
        frozen_at = transaction_time(self._session)
        sources = source_names(split, facts)
        plan = partial(
            SplitPlan,
            target=target.name,
            sources=sources,
            shared_snapshot=split.shared_snapshot,
            tag=_TAGS.get(kind_of(statement.tree), "SELECT"),
            creates=target.creates,
        )
        work = _Work(facts, frozen_at, plan, rejected, target.creates, alone)
        found = first_that_works(self._attempts(split, work, alone.cost_with_writing))
        if isinstance(found, Reason):
            return _serial(found, unlogged=split.unlogged)
        locked = target.name if target.creates is None else None
        snapshot = self._snapshots.open(item.settings, locked, sources)
        notes = tuple((str(note.code), note.message) for note in found.notes)
        task = TaskPlan("split", (), split.hazards, split.unlogged, found.cut(), notes)
        return Analysis(task, snapshot, found.driving)

    def _attempts(
        self, split: Split, work: _Work, cost: float
    ) -> list[Callable[[], Cuttable | Reason]]:
        """Ways to split the statement: what has the most rows first."""
        whole = partial(self._cuttable, work, split, cost)
        if not split.unions:  # nothing to compare: the candidates are measured when one is chosen
            return [whole]

        def rows_of(candidate: Candidate) -> float:
            return self._chooser.rows_of(split, candidate, work.facts, work.frozen_at)

        ways: list[tuple[float, Callable[[], Cuttable | Reason]]] = []
        if split.candidates:
            rows = max(rows_of(each) for each in split.candidates)
            ways.append((rows, whole))
        for branches in split.unions:
            rows = sum(
                max((rows_of(each) for each in branch.candidates), default=0.0)
                for branch in branches
            )
            ways.append((rows, partial(self._divided, work, split, branches)))
        return [way for _, way in sorted(ways, key=itemgetter(0), reverse=True)]

    def _cuttable(
        self,
        work: _Work,
        split: Split,
        cost: float,
        around: Callable[[Template], Template] = lambda template: template,
    ) -> Cuttable | Reason:
        """The statement on the best of its candidates; `cost` is that of one query.

        `around` puts what is split into a larger statement.
        """

        def prepare(chosen: Chosen) -> Cut:
            template = around(template_of(split, chosen, work.facts, work.frozen_at))
            plan = partial(work.plan, pieces=template.pieces, columns=template.columns)
            return Cut(chosen, work.facts, plan, work.alone.stored_apart)

        chosen = self._chooser.choose(
            split,
            work.facts,
            work.frozen_at,
            work.rejected,
            cost,
            prepare,
            looks_up_from=work.alone.looks_up_from,
        )
        if isinstance(chosen, Reason):
            return chosen
        candidate = chosen.cut.chosen.candidate
        choice = self._chooser.judge(chosen, split, cost)
        if isinstance(choice, Reason):
            work.rejected[candidate] = (choice,)
            return choice
        relation = work.facts.relations.get(candidate.relation or ())
        tablespace = relation.tablespace if relation is not None else 0
        measured = partial(
            choice.cut.measured,
            self._snapshots.blocks,
            self._snapshots.table_bytes,
            cost=choice.cost,
        )
        return Cuttable(measured, candidate, choice.notes, tablespace)

    def _divided(self, work: _Work, split: Split, branches: Branches) -> Cuttable | Reason:
        """The statement in the branches of a UNION ALL."""
        cutter = Cutter(
            small_cost=SMALL_COST if self._options.split == "auto" else 0.0,
            cost=partial(
                Weigher(self._session).cost, work.creates, stored_apart=work.alone.stored_apart
            ),
            prepare=partial(self._cuttable, replace(work, rejected={})),
        )
        divided = divide(branches, assemble(split, branches, work.facts, work.frozen_at), cutter)
        if isinstance(divided, Reason):
            return divided
        if self._options.by is not None and not divided.cuttable:
            return Reason("key-not-found", f"nothing to split by {self._options.by.text}")
        return Cuttable(partial(divided.joined, work.plan), None, divided.notes)


def _serial(*reasons: Reason, unlogged: bool = False) -> Analysis:
    pairs = tuple((str(reason.code), reason.message) for reason in reasons)
    return Analysis(TaskPlan("serial", pairs, (), unlogged))


def _writes_unlogged(statement: Statement, facts: CatalogFacts) -> bool:
    return writes_unlogged(statement.tree, creation_of(statement.tree), facts)
