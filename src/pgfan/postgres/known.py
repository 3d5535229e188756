"""What exists in a database, for `pgfan.sql.accesses`: a few queries, whatever a script names.

Expressions and definitions are printed under an empty search_path, so that every name outside of
pg_catalog has its schema. Nothing is locked; what others change meanwhile is theirs to answer for,
as with psql.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pgfan.sql.known import (
    KnownColumn,
    KnownForeignKey,
    KnownFunction,
    KnownObjects,
    KnownRelation,
    KnownRule,
    KnownTrigger,
    KnownType,
)

if TYPE_CHECKING:
    from pgfan.ports import Session
    from pgfan.sql.known import Qualified, RelationKind

_KINDS: dict[str, RelationKind] = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "f": "foreign table",
    "c": "composite type",
}
_Event: TypeAlias = Literal["insert", "update", "delete", "truncate"]
_EVENTS: tuple[tuple[_Event, int], ...] = (
    ("insert", 4),
    ("delete", 8),
    ("update", 16),
    ("truncate", 32),
)
"""Bits of pg_trigger.tgtype."""
_WHEN = re.compile(r" WHEN \((.*)\) EXECUTE (?:FUNCTION|PROCEDURE) ", re.DOTALL)
_PATH_PART = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')
_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"


def _names(query: str) -> str:
    """SQL of a JSON array of (schema, name) pairs."""
    return (
        f"COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(s, t)) {query}), '[]')"
    )


_RELATIONS = f"""
SELECT pg_catalog.json_build_object(
    'name', pg_catalog.json_build_array(n.nspname, c.relname), 'kind', c.relkind,
    'columns', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,
            COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),
            (SELECT pg_catalog.json_build_array(sn.nspname, s.relname) FROM pg_catalog.pg_depend o
                JOIN pg_catalog.pg_class s ON s.oid = o.objid AND s.relkind = 'S'
                JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
                WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.deptype = 'i'
                    AND o.refobjid = c.oid AND o.refobjsubid = a.attnum LIMIT 1),
            a.attgenerated <> '',
            CASE WHEN tn.nspname <> 'pg_catalog'
                THEN pg_catalog.json_build_array(tn.nspname, e.typname) END) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        JOIN pg_catalog.pg_type e
            ON e.oid = CASE WHEN y.typcategory = 'A' THEN y.typelem ELSE y.oid END
        JOIN pg_catalog.pg_namespace tn ON tn.oid = e.typnamespace
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')), '[]'),
    'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END,
    'parents', {
    _names(
        "FROM (SELECT pn.nspname AS s, p.relname AS t FROM pg_catalog.pg_inherits h "
        "JOIN pg_catalog.pg_class p ON p.oid = h.inhparent "
        "JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE h.inhrelid = c.oid) q"
    )
},
    'default', EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partdefid = c.oid),
    'table', (SELECT pg_catalog.json_build_array(tn.nspname, t.relname, COALESCE(k.attname, ''))
        FROM (SELECT i.indrelid AS oid, 0::pg_catalog.int2 AS num FROM pg_catalog.pg_index i
                WHERE i.indexrelid = c.oid
            UNION ALL SELECT o.refobjid, o.refobjsubid::pg_catalog.int2 FROM pg_catalog.pg_depend o
                WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid = c.oid
                    AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND c.relkind = 'S' AND o.deptype IN ('a', 'i')) AS w
        JOIN pg_catalog.pg_class t ON t.oid = w.oid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = t.oid AND k.attnum = w.num
            AND k.attnum > 0 LIMIT 1),
    'key', (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
            AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
        WHERE i.indexrelid = c.oid AND i.indisunique AND i.indisvalid
            AND i.indexprs IS NULL AND i.indpred IS NULL),
    'triggers', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(g.tgname,
            pg_catalog.json_build_array(fn.nspname, f.proname), g.tgtype,
            CASE WHEN g.tgqual IS NOT NULL THEN pg_catalog.pg_get_triggerdef(g.oid) END))
        FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
        JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
        WHERE g.tgrelid = c.oid AND NOT g.tgisinternal), '[]'),
    'foreign_keys', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            pg_catalog.json_build_array(tn.nspname, t.relname),
            k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'), k.conname))
        FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        WHERE k.conrelid = c.oid AND k.contype = 'f'), '[]'),
    'rules', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_ruledef(r.oid))
        FROM pg_catalog.pg_rewrite r
        WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '[]'),
    'expressions', COALESCE((SELECT pg_catalog.json_agg(x) FROM (
            SELECT pg_catalog.pg_get_expr(k.conbin, k.conrelid) FROM pg_catalog.pg_constraint k
                WHERE k.conrelid = c.oid AND k.contype = 'c'
            UNION ALL SELECT pg_catalog.pg_get_expr(i.indexprs, i.indrelid)
                FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL
            UNION ALL SELECT pg_catalog.pg_get_expr(i.indpred, i.indrelid)
                FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indpred IS NOT NULL
            UNION ALL SELECT pg_catalog.pg_get_expr(p.partexprs, p.partrelid)
                FROM pg_catalog.pg_partitioned_table p
                WHERE p.partrelid = c.oid AND p.partexprs IS NOT NULL
            UNION ALL SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid)
                FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polqual IS NOT NULL
            UNION ALL SELECT pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
                FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid
                    AND p.polwithcheck IS NOT NULL) AS e (x)), '[]'),
    'others', pg_catalog.pg_get_userbyid(c.relowner) <> CURRENT_USER,
    'server', (SELECT v.srvname FROM pg_catalog.pg_foreign_table f
        JOIN pg_catalog.pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {_OURS} AND c.relkind <> 't' ORDER BY 1::pg_catalog.text"""
_FUNCTIONS = f"""
SELECT pg_catalog.json_build_object(
    'name', pg_catalog.json_build_array(n.nspname, p.proname),
    'arguments', pg_catalog.oidvectortypes(p.proargtypes),
    'language', CASE p.prokind WHEN 'a' THEN 'aggregate' ELSE l.lanname END,
    'definition', CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE '' END,
    'volatility', p.provolatile,
    'calls', {
    _names(
        "FROM (SELECT fn.nspname AS s, f.proname AS t FROM pg_catalog.pg_aggregate a "
        "JOIN pg_catalog.pg_proc f ON f.oid = ANY (ARRAY[a.aggtransfn, a.aggfinalfn, "
        "a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, "
        "a.aggmfinalfn]::pg_catalog.oid[]) "
        "JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace "
        "WHERE a.aggfnoid = p.oid AND fn.nspname <> 'pg_catalog') q"
    )
},
    'extension', (SELECT x.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
            AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND d.deptype = 'e' LIMIT 1))
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE {_OURS} ORDER BY 1::pg_catalog.text"""
_TYPES = f"""
SELECT pg_catalog.json_build_object(
    'name', pg_catalog.json_build_array(n.nspname, t.typname),
    'expressions', COALESCE((SELECT pg_catalog.json_agg(x) FROM (
            SELECT pg_catalog.pg_get_expr(k.conbin, 0) FROM pg_catalog.pg_constraint k
                WHERE k.contypid = t.oid AND k.conbin IS NOT NULL
            UNION ALL SELECT t.typdefault
                WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL) AS e (x)), '[]'),
    'uses', {
    _names(
        "FROM (SELECT bn.nspname AS s, b.typname AS t FROM pg_catalog.pg_type b "
        "JOIN pg_catalog.pg_namespace bn ON bn.oid = b.typnamespace "
        "WHERE b.oid = t.typbasetype AND bn.nspname <> 'pg_catalog') q"
    )
})
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE {_OURS} AND t.typtype <> 'c' AND t.typcategory <> 'A' ORDER BY 1::pg_catalog.text"""
_FUNCTION_OF = """JOIN pg_catalog.pg_proc f ON f.oid = {column}
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace"""
_OTHERS = f"""
SELECT pg_catalog.json_build_object(
    'schemas', (SELECT pg_catalog.json_agg(n.nspname) FROM pg_catalog.pg_namespace n
        WHERE n.nspname !~ '^pg_(toast|temp)'),
    'operators', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            o.oprname, pg_catalog.json_build_array(n.nspname, f.proname)))
        FROM pg_catalog.pg_operator o {_FUNCTION_OF.format(column="o.oprcode")}
        WHERE o.oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace),
    'casts', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, f.proname))
        FROM pg_catalog.pg_cast k {_FUNCTION_OF.format(column="k.castfunc")}
        WHERE n.nspname <> 'pg_catalog'),
    'event_triggers', (SELECT pg_catalog.json_agg(
            pg_catalog.json_build_array(n.nspname, f.proname))
        FROM pg_catalog.pg_event_trigger e {_FUNCTION_OF.format(column="e.evtfoid")}
        WHERE e.evtenabled <> 'D'),
    'wrappers', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(v.srvname, w.fdwname))
        FROM pg_catalog.pg_foreign_server v
        JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = v.srvfdw),
    'user', CURRENT_USER)"""


def read_known(session: Session) -> KnownObjects:
    """Everything outside of pg_catalog; `session` is outside of a transaction and stays so."""
    path = session.execute("SELECT pg_catalog.current_setting('search_path')")[0].rows[0][0] or ""
    answers = session.execute(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = '';"
        f"{_RELATIONS};{_FUNCTIONS};{_TYPES};{_OTHERS};COMMIT"
    )
    relations, functions, types, others = (
        [json.loads(row[0] or "{}") for row in answer.rows] for answer in answers[2:6]
    )
    (rest,) = others
    return KnownObjects(
        schemas=frozenset(rest["schemas"] or ()),
        relations=tuple(_relation(value) for value in relations),
        functions=tuple(_function(value) for value in functions),
        types=tuple(
            KnownType(_pair(value["name"]), tuple(value["expressions"]), _pairs(value["uses"]))
            for value in types
        ),
        operators=tuple((name, _pair(function)) for name, function in rest["operators"] or ()),
        casts=_pairs(rest["casts"]),
        event_triggers=_pairs(rest["event_triggers"]),
        wrappers=tuple((server, wrapper) for server, wrapper in rest["wrappers"] or ()),
        search_path=tuple(
            quoted.replace('""', '"') or plain.lower() for quoted, plain in _PATH_PART.findall(path)
        ),
        user=rest["user"],
    )


def _relation(value: dict[str, Any]) -> KnownRelation:
    *table, column = value["table"] or ("",)
    return KnownRelation(
        name=_pair(value["name"]),
        kind=_KINDS[value["kind"]],
        columns=tuple(
            KnownColumn(
                name,
                default,
                _pair(sequence) if sequence else None,
                generated,
                _pair(kind) if kind else None,
            )
            for name, default, sequence, generated, kind in value["columns"]
        ),
        definition=value["definition"] or "",
        parents=_pairs(value["parents"]),
        is_default_partition=value["default"],
        table=_pair(table) if table else None,
        column=column,
        key=tuple(value["key"] or ()),
        triggers=tuple(
            KnownTrigger(
                name,
                _pair(function),
                frozenset(event for event, bit in _EVENTS if kinds & bit),
                _condition(definition or ""),
            )
            for name, function, kinds, definition in value["triggers"]
        ),
        foreign_keys=tuple(
            KnownForeignKey(_pair(table), changes, name)
            for table, changes, name in value["foreign_keys"]
        ),
        rules=tuple(KnownRule(definition) for definition in value["rules"]),
        expressions=tuple(value["expressions"]),
        server=value["server"] or "",
        is_others=value["others"],
    )


def _function(value: dict[str, Any]) -> KnownFunction:
    return KnownFunction(
        name=_pair(value["name"]),
        definition=value["definition"],
        arguments=value["arguments"],
        language=value["language"],
        volatility=value["volatility"],
        calls=_pairs(value["calls"]),
        extension=value["extension"] or "",
    )


def _condition(definition: str) -> str:
    found = _WHEN.search(definition)
    return found[1] if found else ""


def _pair(value: list[str]) -> Qualified:
    schema, name = value
    return schema, name


def _pairs(values: list[list[str]] | None) -> tuple[Qualified, ...]:
    return tuple(_pair(value) for value in values or ())


def read_unlogged(session: Session) -> set[str]:
    """The names of unlogged tables, whatever their schemas."""
    rows = session.execute(
        "SELECT relname FROM pg_catalog.pg_class WHERE relpersistence "
        "OPERATOR(pg_catalog.=) 'u' AND relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')"
    )[0].rows
    return {name or "" for (name,) in rows}
