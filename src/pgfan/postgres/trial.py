"""One statement made ready to be run twice: a copy of its target and a text for each run.

The server is asked what the names mean under the settings of the statement; the copies are made
under the same settings. Nothing here runs the statement.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pgfan.postgres import copies
from pgfan.postgres.catalog import read_facts
from pgfan.postgres.server import transaction_time
from pgfan.quoting import qualified
from pgfan.sql.access import references, relation_name
from pgfan.sql.conflict import name_columns
from pgfan.sql.freeze import freeze_time
from pgfan.sql.render import render
from pgfan.sql.repeatable import Unrepeatable, unrepeatable
from pgfan.sql.retarget import (
    Retarget,
    RetargetError,
    occurrences,
    query_of,
    retarget,
    sequence_texts,
)
from pgfan.sql.tree import kind_of
from pgfan.sql.views import expanded

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.facts import CatalogFacts, Name, RelationFacts
    from pgfan.sql.retarget import Written
    from pgfan.sql.script import ScriptItem

CHUNKS_WANTED = 50
SIDES = ("serial", "split")
SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "pg_toast"})
ROWS_UNKNOWN = 1000
"""What the planner takes for the length of a series that it cannot compute."""


class Trial(Struct, frozen=True):
    """A statement judged: `target` is None for a new table, `with_rows` whether rows matter."""

    item: ScriptItem
    written: Written
    facts: CatalogFacts
    target: copies.TargetTable | None
    names: frozenset[Name]
    unrepeatable: Unrepeatable
    with_rows: bool
    descendants: bool

    @property
    def read(self) -> list[RelationFacts]:
        """The relations that the statement names, its target and those inside of views too."""
        tree = expanded(self.item.first.tree, self.facts).tree
        return [self.facts.relations[relation_name(node)] for node in occurrences(tree)]

    @property
    def locks(self) -> tuple[str, ...]:
        """Quoted names of the tables whose rows both runs read.

        Of views the tables inside: a lock on the view itself goes through to catalogues, which
        making the copies writes to.
        """
        relations = self.read
        own = 0 if self.target is None or self.with_rows else self.target.facts.oid
        return tuple(
            sorted(
                {
                    qualified((relation.schema, relation.name))
                    for relation in relations
                    if relation.kind in {"r", "p"}
                    and relation.oid != own
                    and relation.schema not in SYSTEM_SCHEMAS
                }
            )
        )


def prepare_trial(session: PostgresSession, item: ScriptItem, written: Written) -> Trial:
    """Judge a statement. Raises RetargetError when no copy can stand in for its target."""
    session.prepare(item.settings)
    tree = item.first.tree
    facts = read_facts(session, references(tree), None)
    query = query_of(tree)
    given = len(session.describe(render(query))) if query is not None else 0
    whole = expanded(tree, facts).tree
    if written.effect == "create":
        found = unrepeatable(whole, (), given, facts)
        return Trial(item, written, facts, None, frozenset(), found, False, True)
    own = facts.relations[relation_name(written.relation)]
    target = copies.read_target(session, own)
    names = frozenset(name for name, one in facts.relations.items() if one.oid == own.oid)
    places = [node for node in occurrences(tree) if relation_name(node) in names]
    if own.has_children and len({bool(node.inh) for node in places}) > 1:
        raise RetargetError(f"it names {own.name} both with and without ONLY")
    keeps_rows_apart = target.has_unique or (
        written.effect == "insert" and tree.HasField("on_conflict_clause")
    )
    with_rows = written.effect != "insert" or keeps_rows_apart or len(places) > 1
    found = unrepeatable(whole, target.columns, given, facts)
    return Trial(item, written, facts, target, names, found, with_rows, bool(written.relation.inh))


def make_sides(
    session: PostgresSession, trial: Trial, schema: str, number: int
) -> tuple[tuple[tuple[str, str], str], ...]:
    """The table and the statement's text for the serial run, then for the split one."""
    session.prepare(trial.item.settings)
    frozen_at = transaction_time(session)
    tree, target = trial.item.first.tree, trial.target
    texts = set(sequence_texts(tree))
    if target is not None:
        texts |= copies.default_sequences(target)
    full = (target.facts.schema, target.facts.name) if target is not None else ("", "")
    sides = []
    for side in SIDES:
        copy = (schema, f"{side}_{number}")
        sequences = copies.clone_sequences(session, texts, schema, f"{side}_{number}_sequence")
        if target is not None:
            copies.make_copy(session, target, copy, sequences, (frozen_at, trial.facts))
        changed = retarget(tree, Retarget(trial.names, full, copy, sequences))
        if target is not None and kind_of(changed) == "InsertStmt":
            name_columns(changed, target.facts)
        freeze_time(changed, frozen_at, trial.facts)
        sides.append((copy, render(changed)))
    if target is not None and trial.with_rows:
        both = tuple(copy for copy, _ in sides)
        copies.copy_rows(session, target, both, descendants=trial.descendants)
    return tuple(sides)


def estimate_rows(session: PostgresSession, trial: Trial, sql: str) -> int:
    """About how many rows a split would divide: the longest relation or series in it."""
    text = session.execute(f"EXPLAIN (FORMAT JSON) {sql}")[0].rows[0][0]
    nodes: list[dict[str, Any]] = [json.loads(text or "[]")[0]["Plan"]]
    series = 0
    while nodes:
        node = nodes.pop()
        nodes.extend(node.get("Plans", ()))
        if node["Node Type"] in {"Function Scan", "ProjectSet"} and node["Plan Rows"] > series:
            series = node["Plan Rows"]
    own = trial.target.facts.oid if trial.target is not None and not trial.with_rows else 0
    read = [one for one in trial.read if one.oid != own]
    stored = [one.rows if one.rows >= 0 else one.size_bytes / 100 for one in read]
    return max(series, math.ceil(max(stored, default=0)), 1)


def chunk_rows_for(rows: int, rows_serial: int) -> int:
    """The size of a chunk for about CHUNKS_WANTED of them."""
    if rows == ROWS_UNKNOWN:
        rows = max(rows, rows_serial)
    return max(1, math.ceil(rows / CHUNKS_WANTED))
