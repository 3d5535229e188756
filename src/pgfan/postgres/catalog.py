"""What the catalogue says of the names in a statement: four queries, however many names.

Two more when there is a view among them: one for all definitions, one for the relations in those;
and two more for the leaves of partitioned tables, and of tables that others inherit from; one for
columns of types that give rows a place.

Unqualified names are resolved by the server through the session's search_path, so the session
must have the script's SET statements in force. The answers are frozen in `pgfan.sql.facts`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString

from msgspec.structs import replace

from pgfan.postgres.cells import read_spaces
from pgfan.postgres.leaves import read_leaves
from pgfan.postgres.unseen import UNSAFE_CONSTRAINTS, read_unseen
from pgfan.postgres.views import read_views
from pgfan.quoting import array, literal, qualified
from pgfan.sql.access import References, expression_references
from pgfan.sql.facts import (
    CatalogFacts,
    ColumnFacts,
    FunctionFacts,
    RelationFacts,
    UniqueIndex,
)
from pgfan.sql.views import definition_references

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.ports import Session
    from pgfan.sql.facts import Name

RESOLVED: LiteralString = """CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
    WHERE pg_catalog.cardinality(pg_catalog.parse_ident(name)) > 1
        AND n.nspname = (pg_catalog.parse_ident(name))[1]
        AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
    THEN pg_catalog.to_regclass(name) END"""
"""What a quoted `name` means to the role; to_regclass fails for a schema that it may not use."""

RELATIONS: LiteralString = (
    """
WITH RECURSIVE wanted AS (
    SELECT ord, """
    + RESOLVED
    + """::pg_catalog.oid AS oid
    FROM pg_catalog.unnest({names}) WITH ORDINALITY AS w(name, ord)
), down (root, oid) AS (
    SELECT oid, oid FROM wanted WHERE oid IS NOT NULL
    UNION SELECT d.root, i.inhrelid FROM down d JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid
), up (root, oid) AS (
    SELECT oid, oid FROM wanted WHERE oid IS NOT NULL
    UNION SELECT u.root, i.inhparent FROM up u JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.oid
), domains (root, oid) AS (
    SELECT d.root, k.atttypid FROM down d JOIN pg_catalog.pg_attribute k ON k.attrelid = d.oid
    UNION SELECT s.root, t.typbasetype FROM domains s JOIN pg_catalog.pg_type t ON t.oid = s.oid
        WHERE t.typtype = 'd'
)
SELECT w.ord, pg_catalog.row_to_json(facts) FROM wanted w CROSS JOIN LATERAL (
    SELECT c.oid::pg_catalog.int8 AS oid, n.nspname AS schema, c.relname AS name,
        c.relkind AS kind, c.relpersistence AS persistence, a.amname = 'heap' AS heap,
        c.reltuples AS rows,
        CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END
            AS size_bytes,
        c.reltablespace::pg_catalog.int8 AS tablespace,
        ARRAY(SELECT (SELECT pg_catalog.json_agg(k.attname ORDER BY u.number)
                FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS u (n, number)
                JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = u.n
                WHERE u.number <= i.indnkeyatts)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indnkeyatts > 1
                AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indexrelid) AS indexes,
        (SELECT pg_catalog.count(*) > 1 FROM down WHERE root = c.oid) AS has_children,
        pg_catalog.row_security_active(c.oid) AS row_security,
        pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
        pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writable,
        EXISTS (SELECT FROM pg_catalog.pg_rewrite r
            WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
        ARRAY(SELECT DISTINCT event.letter || t.tgname FROM down
            JOIN pg_catalog.pg_trigger t ON t.tgrelid = down.oid
            JOIN (VALUES ('i', 4), ('d', 8), ('u', 16)) AS event (letter, bit)
                ON t.tgtype & event.bit <> 0
            WHERE down.root = c.oid AND t.tgenabled <> 'D' AND (NOT t.tgisinternal
                -- PostgreSQL 14 marks those that partitions have from their parent.
                OR (t.tgparentid <> 0 AND t.tgconstrrelid = 0))) AS triggers,
        ARRAY(SELECT DISTINCT CASE WHEN i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
                    OR (k.attgenerated <> '' AND down.oid <> c.oid) THEN '*'
                ELSE k.attname END
            FROM down JOIN pg_catalog.pg_index i ON i.indrelid = down.oid
            LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = i.indrelid
                AND k.attnum = ANY (i.indkey::pg_catalog.int2[])
            WHERE down.root = c.oid AND (i.indisunique OR i.indisexclusion)) AS unique_columns,
        ARRAY(SELECT pg_catalog.json_build_array(
                ARRAY(SELECT pg_catalog.json_build_array(COALESCE(k.attname, ''), COALESCE(
                        NOT i.indisexclusion AND o.opcdefault AND m.amname = 'btree'
                        AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
                        AND u.coll = k.attcollation, false))
                    FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),
                            pg_catalog.unnest(i.indclass::pg_catalog.oid[]),
                            pg_catalog.unnest(i.indcollation::pg_catalog.oid[]))
                        WITH ORDINALITY AS u (attnum, class, coll, number)
                    LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = i.indrelid
                        AND k.attnum = u.attnum AND u.attnum > 0
                    LEFT JOIN pg_catalog.pg_opclass o ON o.oid = u.class
                    LEFT JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                    WHERE u.number <= i.indnkeyatts ORDER BY u.number),
                i.indrelid = c.oid,
                i.indisunique AND i.indimmediate AND i.indisvalid
                    AND i.indpred IS NULL AND i.indexprs IS NULL,
                COALESCE((SELECT k.conname FROM pg_catalog.pg_constraint k
                    WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid
                        AND k.contype IN ('p', 'u', 'x')), ''))
            FROM down JOIN pg_catalog.pg_index i ON i.indrelid = down.oid
            WHERE down.root = c.oid AND (i.indisunique OR i.indisexclusion)
            ORDER BY i.indexrelid) AS unique_indexes,
        ARRAY(SELECT DISTINCT COALESCE(k.attname, '*') FROM down
            JOIN pg_catalog.pg_partitioned_table g ON g.partrelid = down.oid
            CROSS JOIN pg_catalog.unnest(g.partattrs::pg_catalog.int2[]) AS u (attnum)
            LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = g.partrelid
                AND k.attnum = u.attnum AND u.attnum > 0
            WHERE down.root = c.oid) AS partition_columns,
        EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f'
            AND f.confrelid IN (SELECT oid FROM down WHERE root = c.oid
                UNION SELECT oid FROM up WHERE root = c.oid)
            AND (f.confdeltype NOT IN ('a', 'r') OR f.confupdtype NOT IN ('a', 'r'))) AS cascades,
        ARRAY(SELECT DISTINCT k.conname FROM """
    + UNSAFE_CONSTRAINTS
    + """
            AND k.contype = 'c' AND (
                k.conrelid IN (SELECT oid FROM down WHERE root = c.oid)
                OR k.contypid IN (SELECT oid FROM domains WHERE root = c.oid))) AS unsafe_checks,
        EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f'
            AND f.conrelid IN (SELECT oid FROM down WHERE root = c.oid)
            AND f.confrelid IN (SELECT oid FROM down WHERE root = c.oid
                UNION SELECT oid FROM up WHERE root = c.oid)) AS references_itself,
        ARRAY(SELECT DISTINCT l.relkind::pg_catalog.text || l.relpersistence::pg_catalog.text
            FROM down JOIN pg_catalog.pg_class l ON l.oid = down.oid
            WHERE down.root = c.oid AND l.relkind <> 'p') AS leaves,
        ARRAY(SELECT oid::pg_catalog.int8 FROM down WHERE root = c.oid
            UNION SELECT oid::pg_catalog.int8 FROM up WHERE root = c.oid) AS family,
        ARRAY(SELECT pg_catalog.json_build_array(k.attname, k.attgenerated <> '', COALESCE(
                pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                pg_catalog.pg_get_expr(y.typdefaultbin, 0),
                CASE WHEN k.attidentity <> '' THEN 'pg_catalog.nextval(''identity'')' END),
                pg_catalog.format_type(k.atttypid, NULL),
                COALESCE(l.collnamespace::pg_catalog.text || '.' || l.collname, ''),
                COALESCE(l.collisdeterministic, true) AND (y.typtype = 'e' OR y.typtype = 'b'
                    AND (k.atttypid = 'pg_catalog.varchar'::pg_catalog.regtype
                        OR EXISTS (SELECT FROM pg_catalog.pg_opclass o
                            JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
                            WHERE o.opcintype = k.atttypid AND o.opcdefault
                                AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace))),
                EXISTS (SELECT FROM pg_catalog.pg_index i
                    JOIN pg_catalog.pg_opclass o ON o.oid = (i.indclass::pg_catalog.oid[])[0]
                    JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
                    WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                        AND (i.indkey::pg_catalog.int2[])[0] = k.attnum AND o.opcdefault
                        AND (i.indcollation::pg_catalog.oid[])[0] = k.attcollation),
                k.atttypmod,
                k.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint n
                    WHERE n.conrelid = c.oid AND n.contype = 'n' AND NOT n.convalidated
                        AND n.conkey = ARRAY[k.attnum])
                AND EXISTS (SELECT FROM pg_catalog.pg_index i
                    JOIN pg_catalog.pg_opclass o ON o.oid = (i.indclass::pg_catalog.oid[])[0]
                    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                        AND i.indpred IS NULL AND i.indnkeyatts = 1 AND o.opcdefault
                        AND (i.indkey::pg_catalog.int2[])[0] = k.attnum
                        AND (i.indcollation::pg_catalog.oid[])[0] = k.attcollation))
            FROM pg_catalog.pg_attribute k JOIN pg_catalog.pg_type y ON y.oid = k.atttypid
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = k.attrelid AND d.adnum = k.attnum
            LEFT JOIN pg_catalog.pg_collation l ON l.oid = k.attcollation
            WHERE k.attrelid = c.oid AND k.attnum > 0 AND NOT k.attisdropped
            ORDER BY k.attnum) AS columns
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
    WHERE c.oid = w.oid
) AS facts"""
)

FUNCTIONS: LiteralString = """
SELECT w.ord, n.nspname, CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_aggregate a
        JOIN pg_catalog.pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
            a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
        WHERE a.aggfnoid = p.oid AND f.provolatile <> 'i'
            AND f.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace)
    THEN 'v' ELSE p.provolatile END, p.prokind, p.proretset
FROM pg_catalog.json_array_elements({names}::pg_catalog.json) WITH ORDINALITY AS w(name, ord)
JOIN pg_catalog.pg_proc p ON p.proname = w.name ->> -1
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE CASE WHEN pg_catalog.json_array_length(w.name) = 1
    THEN n.nspname = ANY (pg_catalog.current_schemas(true)) ELSE n.nspname = w.name ->> -2 END"""

OPERATORS: LiteralString = """
SELECT w.ord, n.nspname, p.provolatile, p.prokind, p.proretset
FROM pg_catalog.json_array_elements({names}::pg_catalog.json) WITH ORDINALITY AS w(name, ord)
JOIN pg_catalog.pg_operator o ON o.oprname = w.name ->> -1
JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE n.nspname <> 'pg_catalog' AND CASE WHEN pg_catalog.json_array_length(w.name) = 1
    THEN n.nspname = ANY (pg_catalog.current_schemas(true)) ELSE n.nspname = w.name ->> -2 END"""


def read_facts(
    session: Session, names: References, server_refuses_split: str | None
) -> CatalogFacts:
    """The facts about everything in `names`, and in the defaults and views of its relations."""
    relations = _relations(session, sorted(names.relations))
    views = [relation.oid for relation in relations.values() if relation.kind == "v"]
    if views:
        found = read_views(session, views)
        # What the role cannot look up makes the server fail: such a definition is not used.
        names |= definition_references(
            view.definition for view in found.values() if not view.forbidden
        )
        relations |= _relations(session, sorted(names.relations - relations.keys()))
        relations = {
            name: replace(relation, view=found.get(relation.oid))
            if relation.kind == "v"
            else relation
            for name, relation in relations.items()
        }
    roots = [
        relation
        for relation in relations.values()
        if relation.kind == "p" or (relation.kind == "r" and relation.has_children)
    ]
    if roots:
        leaves = read_leaves(session, roots)
        names |= definition_references(one.definition for one in leaves.values())
        relations = {
            name: replace(relation, view=leaves.get(relation.oid, relation.view))
            for name, relation in relations.items()
        } | _relations(session, sorted(names.relations - relations.keys()))
    relations = _with_spaces(session, relations)
    defaults = {
        column.default
        for relation in relations.values()
        for column in relation.columns
        if column.default is not None
    }
    every = names | expression_references(sorted(defaults))
    unseen = read_unseen(session)
    return CatalogFacts(
        relations=relations,
        functions=_functions(session, FUNCTIONS, every.functions),
        operators=_functions(session, OPERATORS, every.operators),
        unsafe_casts=unseen["cast"],
        unsafe_types=frozenset(unseen["type"]),
        temporary_types=frozenset(unseen["temporary"]),
        cycling_sequences=unseen["sequence"],
        server_refuses_split=server_refuses_split,
    )


def _with_spaces(
    session: Session, relations: dict[Name, RelationFacts]
) -> dict[Name, RelationFacts]:
    spaces = read_spaces(session, relations.values())
    if not spaces:
        return relations
    return {
        name: replace(
            relation,
            columns=tuple(
                replace(column, space=spaces.get((relation.oid, column.name)))
                for column in relation.columns
            ),
        )
        for name, relation in relations.items()
    }


def _relations(session: Session, wanted: list[Name]) -> dict[Name, RelationFacts]:
    if not wanted:
        return {}
    names = array([qualified(name) for name in wanted])
    rows = session.execute(RELATIONS.replace("{names}", names))[-1].rows
    found = {int(row[0] or 0): json.loads(row[1] or "{}") for row in rows}
    return {
        name: _relation(found[number]) if number in found else RelationFacts(0, kind="?")
        for number, name in enumerate(wanted, 1)
    }


def _relation(value: dict[str, Any]) -> RelationFacts:
    leaves = value["leaves"]
    persistence = value["persistence"]
    if value["kind"] == "p":
        kinds = {leaf[1] for leaf in leaves}
        persistence = kinds.pop() if len(kinds) == 1 else ("x" if kinds else "p")
    return RelationFacts(
        oid=value["oid"],
        schema=value["schema"],
        name=value["name"],
        kind=value["kind"],
        persistence=persistence,
        heap=bool(value["heap"]),
        has_children=value["has_children"],
        row_security=value["row_security"],
        readable=bool(value["readable"]),
        writable=bool(value["writable"]),
        has_rules=value["has_rules"],
        triggers=_triggers(value, "i"),
        update_triggers=_triggers(value, "u"),
        delete_triggers=_triggers(value, "d"),
        unique_columns=frozenset(value["unique_columns"]),
        unique_indexes=tuple(
            UniqueIndex(
                tuple(name for name, _ in columns),
                frozenset(name for name, is_plain in columns if is_plain),
                own,
                whole,
                constraint,
            )
            for columns, own, whole, constraint in value["unique_indexes"]
        ),
        partition_columns=frozenset(value["partition_columns"]),
        cascades=value["cascades"],
        unsafe_checks=tuple(sorted(value["unsafe_checks"])),
        references_itself=value["references_itself"],
        foreign_partitions=any(leaf[0] == "f" for leaf in leaves),
        family=frozenset(value["family"]),
        columns=tuple(
            ColumnFacts(name, default, generated, *rest)
            for name, generated, default, *rest in value["columns"]
        ),
        rows=value["rows"],
        size_bytes=value["size_bytes"],
        tablespace=value["tablespace"],
        indexes=tuple(tuple(columns) for columns in value["indexes"]),
    )


def _triggers(value: dict[str, Any], event: str) -> tuple[str, ...]:
    return tuple(sorted(name[1:] for name in value["triggers"] if name[0] == event))


def _functions(
    session: Session, query: LiteralString, names: Iterable[Name]
) -> dict[Name, tuple[FunctionFacts, ...]]:
    wanted = sorted(names)
    if not wanted:
        return {}
    text = literal(json.dumps([list(name) for name in wanted]))
    found: dict[Name, list[FunctionFacts]] = {name: [] for name in wanted}
    for ord_, schema, volatility, kind, returns_set in session.execute(
        query.replace("{names}", text)
    )[-1].rows:
        found[wanted[int(ord_ or 0) - 1]].append(
            FunctionFacts(schema or "", _volatility(volatility), kind or "f", returns_set == "t")
        )
    return {name: tuple(functions) for name, functions in found.items()}


def _volatility(letter: str | None) -> Any:  # noqa: ANN401  # provolatile is one of three letters
    return letter if letter in {"i", "s", "v"} else "v"
