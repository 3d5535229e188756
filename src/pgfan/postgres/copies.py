"""Copies of a statement's target, alike in everything that decides which rows a statement leaves.

Columns, defaults, checks, unique indexes and, where they matter, rows. Triggers, rules, row
security, foreign keys and partitions are not copied. A copy draws from sequences of its own, which
go on where the user's stand: those are never advanced. See "CREATE TABLE", LIKE, in PostgreSQL's
manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import postgast
from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.quoting import identifier, literal, qualified
from pgfan.sql.freeze import freeze_time
from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.repeatable import TargetColumn
from pgfan.sql.retarget import RetargetError, replace_sequences, sequence_texts
from pgfan.sql.tree import Message, deparse_expression, parse_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.facts import CatalogFacts, RelationFacts

SPREAD_BYTES_MAX = 8 << 20
"""A smaller table is copied with few rows to a block, so that there are blocks to split."""

TARGET: LiteralString = """
SELECT k.attname, COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        pg_catalog.pg_get_expr(y.typdefaultbin, 0)),
    k.attgenerated <> '', k.attidentity <> '',
    EXISTS (SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = k.attrelid AND (i.indisunique OR i.indisexclusion))
FROM pg_catalog.pg_attribute k JOIN pg_catalog.pg_type y ON y.oid = k.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = k.attrelid AND d.adnum = k.attnum
WHERE k.attrelid = {oid} AND k.attnum > 0 AND NOT k.attisdropped ORDER BY k.attnum"""

SEQUENCE: LiteralString = """
SELECT pg_catalog.format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s',
        s.seqtypid::pg_catalog.regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache)
        || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END,
    CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
        THEN pg_catalog.pg_sequence_last_value(s.seqrelid) END
FROM pg_catalog.pg_sequence s WHERE s.seqrelid = {name}::pg_catalog.regclass"""


class TargetTable(Struct, frozen=True):
    """The table that a statement writes; `has_unique`: rows that are there may matter."""

    facts: RelationFacts
    columns: tuple[TargetColumn, ...]
    has_unique: bool

    @property
    def name(self) -> str:
        """Its full name, quoted."""
        return qualified((self.facts.schema, self.facts.name))


def read_target(session: PostgresSession, facts: RelationFacts) -> TargetTable:
    """What the catalogue says of the target beyond `facts`."""
    rows = session.execute(TARGET.replace("{oid}", str(facts.oid)))[0].rows
    columns = tuple(
        TargetColumn(name or "", default, generated == "t", identity == "t")
        for name, default, generated, identity, _ in rows
    )
    return TargetTable(facts, columns, any(row[4] == "t" for row in rows))


def make_copy(
    session: PostgresSession,
    target: TargetTable,
    copy: tuple[str, str],
    sequences: Mapping[str, str],
    times: tuple[str, CatalogFacts],
) -> None:
    """An empty copy; `times` are the moment that now() in a default stands for, and the facts."""
    facts = target.facts
    plain = facts.kind == "r" and not facts.has_children
    small = plain and facts.size_bytes < SPREAD_BYTES_MAX
    session.execute(
        f"CREATE {'UNLOGGED ' if facts.persistence == 'u' else ''}TABLE {qualified(copy)} "
        f"(LIKE {target.name} INCLUDING ALL){' WITH (fillfactor = 10)' if small else ''}"
    )
    for column in target.columns:
        if column.identity:
            _go_on(session, target, copy, column.name)
        elif column.default is not None and not column.generated:
            default = _default_of_copy(column.default, sequences, times)
            session.execute(
                f"ALTER TABLE {qualified(copy)} ALTER COLUMN {identifier(column.name)} "
                f"SET DEFAULT {default}"
            )


def copy_rows(
    session: PostgresSession,
    target: TargetTable,
    copies: tuple[tuple[str, str], ...],
    *,
    descendants: bool,
) -> None:
    """The target's rows, in one snapshot, into each copy; with those of its `descendants`."""
    stored = [identifier(column.name) for column in target.columns if not column.generated]
    if not stored:
        return
    source = target.name if descendants else f"ONLY {target.name}"
    names = ", ".join(stored)
    fills = "; ".join(
        f"INSERT INTO {qualified(copy)} ({names}) OVERRIDING SYSTEM VALUE "
        f"SELECT {names} FROM {source}"
        for copy in copies
    )
    session.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ; {fills}; COMMIT")
    for copy in copies:
        session.execute(f"ANALYZE {qualified(copy)}")


def clone_sequences(
    session: PostgresSession, texts: set[str], schema: str, prefix: str
) -> dict[str, str]:
    """A sequence like each that `texts` name, at the same value; the text that names it instead."""
    clones = {}
    for number, text in enumerate(sorted(texts), 1):
        made = qualified((schema, f"{prefix}_{number}"))
        rows = session.execute(SEQUENCE.replace("{name}", literal(text)))[0].rows
        if not rows:
            raise RetargetError(f"nextval('{text}') does not name a sequence")
        options, last = rows[0]
        session.execute(f"CREATE SEQUENCE {made} {options}")
        if last is not None:
            session.execute(f"SELECT pg_catalog.setval({literal(made)}, {last})")
        clones[text] = made
    return clones


def default_sequences(target: TargetTable) -> set[str]:
    """The sequences that the defaults draw from. Raises RetargetError for computed ones."""
    return {
        text
        for column in target.columns
        if column.default is not None and not column.generated
        for text in sequence_texts(_parsed(column.default))
    }


def _default_of_copy(
    default: str, sequences: Mapping[str, str], times: tuple[str, CatalogFacts]
) -> str:
    holder = pb.ResTarget()
    holder.val.CopyFrom(_parsed(default))  # a constructor takes 100 levels at most
    replace_sequences(holder, sequences)
    freeze_time(holder, *times)
    return deparse_expression(holder.val)


def _go_on(
    session: PostgresSession, target: TargetTable, copy: tuple[str, str], column: str
) -> None:
    """Have a copy's identity column go on where the user's stands."""
    find = "SELECT pg_catalog.pg_get_serial_sequence({}, {})"
    theirs, ours = (
        session.execute(find.format(literal(name), literal(column)))[0].rows[0][0]
        for name in (target.name, qualified(copy))
    )
    if theirs is None or ours is None:
        return
    rows = session.execute(SEQUENCE.replace("{name}", literal(theirs)))[0].rows
    if rows and rows[0][1] is not None:
        session.execute(f"SELECT pg_catalog.setval({literal(ours)}, {rows[0][1]})")


def _parsed(default: str) -> Message:
    try:
        return parse_expression(default)
    except (postgast.PgQueryError, NestedTooDeepError) as error:
        raise RetargetError(f"the default {default} is not readable") from error
