"""A catalogue for tests of the analysis, and verdicts written so that a table can hold them.

t is the target of most cases: t(id, x, y). b, c and d are plain heaps; what ends in `_v` is a view
of them. Functions are as PostgreSQL 18 has them, but for those in schema `app`, which are a user's.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pgfan.sql.distribute import Serial, Split, Verdict, distribute
from pgfan.sql.facts import CatalogFacts, ColumnFacts, FunctionFacts, RelationFacts, ViewFacts
from pgfan.sql.parsing import parse
from pgfan.sql.tree import inner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.sql.candidates import Candidate
    from pgfan.sql.facts import Name, Volatility
    from pgfan.sql.rewrite import Template
    from pgfan.sql.tree import Message

FUNCTIONS: list[tuple[Volatility, str, bool, str]] = [
    ("i", "f", False, "lower upper abs floor length array_length date_bin to_hex md5 int4range"),
    ("i", "f", False, "overlay position substring btrim overlaps normalize is_normalized"),
    ("i", "f", False, "like_escape similar_to_escape similar_escape xmlexists"),
    ("s", "f", False, "to_char to_date to_timestamp timezone date_part date_trunc extract concat"),
    ("s", "f", False, "now transaction_timestamp statement_timestamp age to_json row_to_json"),
    ("s", "f", False, "current_setting pg_get_viewdef txid_current_snapshot mxid_age version date"),
    ("s", "f", False, "pg_typeof pg_column_size inet_client_port table_to_xml format"),
    ("v", "f", False, "random nextval currval lastval setval setseed clock_timestamp"),
    ("v", "f", False, "gen_random_uuid timeofday txid_current pg_advisory_lock query_to_xml"),
    ("v", "f", False, "ts_stat pg_sleep set_config array_shuffle"),
    ("i", "a", False, "count sum avg min max bool_and string_agg array_agg json_agg xmlagg"),
    ("i", "a", False, "percentile_disc mode any_value jsonb_object_agg rank"),
    ("i", "w", False, "row_number lag first_value"),
    ("i", "f", True, "generate_series unnest json_to_recordset generate_subscripts json_each"),
]
"""Volatility, kind, whether sets are returned, names in pg_catalog."""

USER_FUNCTIONS = {
    "clean": FunctionFacts("app", "i"),
    "lookup": FunctionFacts("app", "s"),
    "log_it": FunctionFacts("app", "v"),
    "pieces": FunctionFacts("app", "i", returns_set=True),
    "product": FunctionFacts("app", "i", kind="a"),
    "total": FunctionFacts("app", "v"),
    "shout": FunctionFacts("app", "i"),
}

RELATIONS: dict[str, RelationFacts] = {
    "t": RelationFacts(1),
    "b": RelationFacts(2),
    "c": RelationFacts(3),
    "d": RelationFacts(4),
    "mv": RelationFacts(5, kind="m"),
    "v": RelationFacts(6, kind="v"),
    "ruled": RelationFacts(7, has_rules=True),
    "temp": RelationFacts(8, persistence="t"),
    "u": RelationFacts(9, persistence="u"),
    "secret": RelationFacts(10, row_security=True),
    "seq": RelationFacts(11, kind="S", heap=False),
    "far": RelationFacts(12, kind="f", heap=False),
    "columnar": RelationFacts(13, heap=False),
    "part": RelationFacts(
        14, kind="p", heap=False, has_children=True, family=frozenset({14, 15, 16})
    ),
    "leaf": RelationFacts(15, family=frozenset({14, 15})),
    "part_far": RelationFacts(17, kind="p", heap=False, foreign_partitions=True),
    "part_mixed": RelationFacts(18, kind="p", heap=False, persistence="x"),
    "parent": RelationFacts(19, has_children=True, family=frozenset({19, 20})),
    "child": RelationFacts(20, family=frozenset({19, 20})),
    "triggered": RelationFacts(21, triggers=("audit",)),
    "tree": RelationFacts(22, references_itself=True),
    "checked": RelationFacts(23, unsafe_checks=("no_overlap",)),
    "nowhere": RelationFacts(0, kind="?"),
}
VIEWS: dict[str, tuple[str, str]] = {
    "plain_v": ("x y", "SELECT b.x, b.y FROM b WHERE (b.x > 0)"),
    "renamed_v": ("k v", "SELECT x AS k, y AS v FROM b"),
    "on_view": ("k", "SELECT renamed_v.k FROM renamed_v WHERE (renamed_v.v IS NOT NULL)"),
    "joined_v": ("x z", "SELECT b.x, d.z FROM (b LEFT JOIN d ON ((d.z = b.x)))"),
    "twice_v": ("x x2", "SELECT p.x, q.x AS x2 FROM (plain_v p JOIN plain_v q ON ((p.x = q.x)))"),
    "grouped_v": ("k n", "SELECT x AS k, count(*) AS n FROM b GROUP BY x"),
    "distinct_v": ("x", "SELECT DISTINCT x FROM b"),
    "union_v": ("x", "SELECT b.x FROM b UNION SELECT c.x FROM c"),
    "window_v": ("x n", "SELECT x, row_number() OVER (PARTITION BY x ORDER BY y) AS n FROM b"),
    "numbered_v": ("x n", "SELECT x, row_number() OVER (ORDER BY y) AS n FROM b"),
    "limit_v": ("x", "SELECT x FROM b ORDER BY x LIMIT 10"),
    "total_v": ("n", "SELECT count(*) AS n FROM b"),
    "with_v": ("x", "WITH b AS (SELECT c.x FROM c) SELECT b.x FROM b"),
    "with_twice_v": ("x", "WITH s AS (SELECT x FROM b) SELECT s.x FROM s, s s_1"),
    "recursive_v": (
        "n",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT r.n + 1 FROM r) SELECT r.n FROM r",
    ),
    "series_v": ("g", "SELECT g.g FROM generate_series(1, 10) g(g)"),
    "random_v": ("r", "SELECT random() AS r FROM b"),
    "lookup_v": ("x", "SELECT app.lookup(x) AS x FROM b"),
    "now_v": ("x at", "SELECT x, now() AS at FROM b"),
    "ruled_v": ("x", "SELECT x FROM ruled"),
    "secret_v": ("x", "SELECT x FROM secret"),
    "temp_v": ("x", "SELECT x FROM temp"),
    "far_v": ("x", "SELECT x FROM far"),
    "locking_v": ("x", "SELECT x FROM b FOR UPDATE"),
    "target_v": ("id", "SELECT id FROM t"),
    "values_v": ("x", "VALUES (1), (2)"),
    "only_v": ("x", "SELECT parent.x FROM ONLY parent"),
    "row_v": ("r", "SELECT plain_v.*::text AS r FROM plain_v"),
    "odd_v": ("Odd c", 'SELECT x AS "Odd", y AS c FROM b'),
    "barred": ("x", "SELECT x FROM b"),
    "guarded": ("x", "SELECT x FROM b"),
    "forbidden": ("x", "SELECT x FROM b"),
    "hiding": ("x", "SELECT NULLIF(x, x) AS x FROM b"),
    "with_rules": ("x", "SELECT x FROM b"),
    "temp_view": ("x", "SELECT x FROM b"),
    "unreadable": ("x", "SELECT FROM FROM"),
    "system_view": ("x", ""),
    "itself": ("x", "SELECT x FROM itself"),
}
"""Columns and definition, as pg_get_viewdef writes them."""
_ABOUT_VIEWS: dict[str, dict[str, Any]] = {
    "barred": {"security_barrier": True},
    "guarded": {"row_security": True},
    "forbidden": {"forbidden": ("hidden.b",)},
    "hiding": {"hidden_operators": ("=",)},
}
COLUMNS = {
    "t": "id x y",
    "b": "x y n age count",
    "c": "x y",
    "d": "z tags",
    "v": "x",
    "u": "x y",
}


def relation(name: str, columns: Mapping[str, str | None] | None = None) -> RelationFacts:
    """The facts of a relation above; `columns` with their defaults in place of plain ones."""
    facts = RELATIONS[name]
    if columns is None:
        columns = dict.fromkeys(COLUMNS.get(name, "x y").split())
    return replace(
        facts,
        name=name,
        family=facts.family or frozenset({facts.oid}),
        columns=tuple(ColumnFacts(column, default) for column, default in columns.items()),
    )


def _view(oid: int, name: str) -> RelationFacts:
    columns, definition = VIEWS[name]
    about = _ABOUT_VIEWS.get(name, {})
    return RelationFacts(
        oid,
        name=name,
        kind="v",
        heap=False,
        persistence="t" if name == "temp_view" else "p",
        has_rules=name == "with_rules",
        family=frozenset({oid}),
        columns=tuple(ColumnFacts(column, None) for column in columns.split()),
        view=ViewFacts(definition, **about),
    )


@cache
def functions() -> dict[Name, tuple[FunctionFacts, ...]]:
    """Every function by its name and by its qualified name."""
    found: dict[Name, tuple[FunctionFacts, ...]] = {}
    for volatility, kind, returns_set, names in FUNCTIONS:
        for name in names.split():
            facts = (FunctionFacts("pg_catalog", volatility, kind, returns_set),)
            found[name,] = found["pg_catalog", name] = facts
    for name, function in USER_FUNCTIONS.items():
        found[name,] = found[function.schema, name] = (function,)
    return found


def catalogue(**changes: Mapping[str, str | None]) -> CatalogFacts:
    """All of the above; `changes` give relations other columns and defaults."""
    relations: dict[Name, RelationFacts] = {}
    for name in RELATIONS:
        facts = relation(name, changes.get(name))
        relations[name,] = relations["public", name] = facts
    for oid, name in enumerate(VIEWS, 100):
        relations[name,] = relations["public", name] = _view(oid, name)
    operators = {
        ("@@@",): (FunctionFacts("app", "v"),),
        ("app", "@@@"): (FunctionFacts("app", "v"),),
        ("***",): (FunctionFacts("app", "i"),),
        ("###",): (FunctionFacts("app", "i", returns_set=True),),
    }
    return CatalogFacts(relations, functions(), operators)


def tree_of(sql: str) -> Message:
    """The tree of one statement."""
    return inner(parse(sql).stmts[0].stmt)


def verdict_of(sql: str, facts: CatalogFacts | None = None) -> Verdict:
    """The verdict on one statement."""
    return distribute(tree_of(sql), facts or catalogue())


def split_of(sql: str, facts: CatalogFacts | None = None) -> Split:
    """The verdict on a statement that is split."""
    verdict = verdict_of(sql, facts)
    assert isinstance(verdict, Split), verdict
    return verdict


def in_words(verdict: Verdict) -> str:
    """ "ctid b, series g" for a split's candidates in order; "! code code" for reasons, sorted.

    "(ctid b | once limit)" for the branches of a UNION ALL: the candidates, or why there are none.
    """
    if isinstance(verdict, Serial):
        return " ".join(["!", *sorted({reason.code for reason in verdict.reasons})])
    divided = [
        " | ".join(
            ", ".join(map(candidate_in_words, branch.candidates))
            or " ".join(["once", *sorted({reason.code for reason in branch.reasons})])
            for branch in branches
        )
        for branches in verdict.unions
    ]
    return ", ".join([*map(candidate_in_words, verdict.candidates), *(f"({d})" for d in divided)])


def candidate_in_words(candidate: Candidate) -> str:
    """Its key and alias; "column x b" is the column x of b."""
    key = f"column {candidate.column}" if candidate.key == "column" else candidate.key
    return " ".join([key, *candidate.alias])


def fill(template: Template, low: str, high: str) -> str:
    """A chunk's statement, from the SQL around its two bounds."""
    before, between, after = template.pieces
    return f"{before}'{low}'{between}'{high}'{after}"
