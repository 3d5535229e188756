"""What --by asks for: words, columns and expressions; and where it is sound."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue

from pgfan.errors import UsageError
from pgfan.sql.candidates import Candidate
from pgfan.sql.distribute import Serial, Split, Verdict, distribute
from pgfan.sql.facts import ColumnFacts, IndexExpression, UniqueIndex
from pgfan.sql.parsing import parse
from pgfan.sql.requested import KeyRequest, read_request
from pgfan.sql.rewrite import restrict_column
from pgfan.sql.tree import inner


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ctid", [("ctid",)]),
        ("series", [("series",)]),
        ("province", [("province",)]),
        ("Province, MUNICIPALITY", [("province",), ("municipality",)]),
        ("o.customer", [("o", "customer")]),
        ('"Odd, name"', [("Odd, name",)]),
        ("a, b, ctid", [("a",), ("b",), ("ctid",)]),
        ("(a)", [("a",)]),
    ],
)
def test_columns_are_read_as_sql_names(text: str, parts: list[tuple[str, ...]]) -> None:
    assert read_request(text) == KeyRequest(text, tuple(parts))


def test_anything_else_is_an_expression() -> None:
    assert read_request("lower( Name )").expression == "lower(name)"
    assert read_request("a % 10").columns == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "*", "a.*", "a b c", "a; DROP TABLE t", "a FROM b", "a WHERE x", "a AS b"),
        *(
            "a, a",
            "ctid, a",
            "series, a",
            "lower(a), b",
            "a, b, c, d, e",
            "DISTINCT a",
            "a ORDER BY 1",
        ),
        *("1 2", "a\0", "a UNION SELECT b", "("),
    ],
)
def test_what_is_neither_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--by"):
        read_request(text)


def test_a_part_means_a_column_by_its_own_or_its_other_name() -> None:
    column = Candidate("column", 0, ("z",), ("app", "b"), column="seen", stored_as="stored")
    for text in ("stored", "seen", "z.stored", "b.stored", "app.b.seen"):
        assert read_request(text).means(column), text
    for text in ("ctid", "series", "other", "c.stored", "lower(stored)"):
        assert not read_request(text).means(column), text
    assert read_request("lower(x)").means(replace(column, key="expression"))
    assert read_request("a, ctid").means(Candidate("ctid", 0, ("b",), ("b",)), 1)


EXPRESSION = IndexExpression("lower(y)", ("y",))


def verdict(sql: str, by: str, expression: IndexExpression = EXPRESSION) -> Verdict:
    """Of a statement that the user wants to be divided by columns or an expression of b."""
    request = read_request(by)
    facts = catalogue()
    expressions = {2: expression, 1: expression} if request.expression else {}
    facts = replace(facts, wanted=request.columns, expressions=expressions)
    return distribute(inner(parse(sql).stmts[0].stmt), facts)


def keys(found: Verdict) -> list[str]:
    if isinstance(found, Serial):
        return []
    return [one.stored_as or one.key for one in found.candidates]


@pytest.mark.parametrize(
    ("sql", "by", "sound"),
    [
        ("INSERT INTO t SELECT x FROM b", "x", True),
        ("INSERT INTO t SELECT x FROM b", "y, x", True),
        ("INSERT INTO t SELECT x FROM b GROUP BY x", "x", True),
        ("INSERT INTO t SELECT x FROM b GROUP BY x", "y", False),
        ("INSERT INTO t SELECT x FROM b GROUP BY x, y", "y", True),
        ("UPDATE t SET x = 1", "x", False),
        ("UPDATE t SET x = 1", "y", True),
        ("DELETE FROM t WHERE x = 1", "x", True),
    ],
)
def test_a_named_column_is_a_candidate_where_it_is_sound(sql: str, by: str, sound: bool) -> None:
    found = verdict(sql, by)
    wanted = read_request(by).columns
    assert (wanted <= set(keys(found))) == sound
    if not sound:
        assert wanted & {one.stored_as for one in found.rejected}


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO t SELECT x FROM b", None),
        ("INSERT INTO t SELECT b.x FROM b LEFT JOIN c ON b.x = c.x", None),
        ("INSERT INTO t SELECT y, count(*) FROM b GROUP BY y", None),
        ("INSERT INTO t SELECT x, count(*) FROM b GROUP BY x", "group-by"),
        ("INSERT INTO t SELECT count(*) FROM b", "aggregate"),
        ("INSERT INTO t SELECT DISTINCT x FROM b", "distinct"),
        ("UPDATE t SET x = 1", None),
        ("UPDATE t SET y = 'a'", "key-assigned"),
        ("DELETE FROM t WHERE x > 1", None),
    ],
)
def test_an_expression_is_as_sound_as_blocks_or_as_its_columns(sql: str, code: str | None) -> None:
    found = verdict(sql, "lower(y)")
    if code is None:
        assert "lower(y)" in keys(found)
    else:
        (against,) = [why for one, why in found.rejected.items() if one.key == "expression"]
        assert code in [reason.code for reason in against]


def test_equal_values_that_differ_in_the_expression_keep_groups_together() -> None:
    """1.0 and 1.00 are one group, and two texts."""
    facts = catalogue()
    b = facts.relations["b",]
    numeric = tuple(
        ColumnFacts(c.name, c.default, type="numeric") if c.name == "x" else c for c in b.columns
    )
    facts = replace(
        facts,
        relations={**facts.relations, ("b",): replace(b, columns=numeric)},
        expressions={2: IndexExpression("x::text", ("x",))},
    )
    tree = inner(parse("INSERT INTO t SELECT x FROM b GROUP BY x").stmts[0].stmt)
    found = distribute(tree, facts)
    (against,) = [why for one, why in found.rejected.items() if one.key == "expression"]
    assert "key-expression" in [reason.code for reason in against]
    rows = inner(parse("INSERT INTO t SELECT x FROM b").stmts[0].stmt)
    assert "x::text" in keys(distribute(rows, facts))


@pytest.mark.parametrize(("column", "sound"), [("x", True), ("y", False), ("n", False)])
def test_rows_that_may_meet_are_divided_by_what_they_meet_by(column: str, sound: bool) -> None:
    facts = catalogue()
    t = replace(
        facts.relations["t",],
        unique_indexes=(UniqueIndex(("id",), frozenset({"id"})),),
        unique_columns=frozenset({"id"}),
    )
    facts = replace(
        facts,
        relations={**facts.relations, ("t",): t},
        expressions={2: IndexExpression(f"f({column})", (column,))},
    )
    sql = "INSERT INTO t (id) SELECT x FROM b ON CONFLICT (id) DO UPDATE SET x = 1"
    found = distribute(inner(parse(sql).stmts[0].stmt), facts)
    assert (f"f({column})" in keys(found)) == sound
    if not sound:
        (against,) = [why for one, why in found.rejected.items() if one.key == "expression"]
        assert "on-conflict" in [reason.code for reason in against]


def test_a_column_without_an_order_is_refused_with_the_reason() -> None:
    facts = catalogue()
    b = facts.relations["b",]
    odd = tuple(
        replace(c, type="text", collation="app.odd", orderable=False) if c.name == "y" else c
        for c in b.columns
    )
    relations = {**facts.relations, ("b",): replace(b, columns=odd)}
    facts = replace(facts, relations=relations, wanted=frozenset({"y"}))
    found = distribute(inner(parse("INSERT INTO t SELECT x FROM b").stmts[0].stmt), facts)
    reasons = {one.stored_as: [r.code for r in why] for one, why in found.rejected.items()}
    assert reasons == {"y": ["key-collation"]}


def test_an_index_on_what_is_compared_makes_a_candidate_beside_blocks() -> None:
    facts = catalogue()
    b = facts.relations["b",]
    indexed = tuple(replace(c, indexed=True) for c in b.columns)
    relations = {**facts.relations, ("b",): replace(b, columns=indexed)}
    facts = replace(facts, relations=relations)
    for sql, expected in [
        ("SELECT x FROM b", ["ctid"]),
        ("SELECT x FROM b WHERE x > 3", ["ctid", "x"]),
        ("SELECT b.x FROM b JOIN c ON b.x = c.x", ["ctid", "x", "ctid"]),
        ("SELECT b.x FROM b JOIN c USING (x)", ["ctid", "x", "ctid"]),
    ]:
        tree = inner(parse(f"INSERT INTO t {sql}").stmts[0].stmt)
        assert keys(distribute(tree, facts)) == expected, sql


@pytest.mark.parametrize(
    ("sql", "by", "holes"),
    [
        ("SELECT x FROM b", "x, y", [('"b"."x"', '"b"."y"')]),
        ("SELECT x FROM b AS z", "y, ctid", [('"z"."y"', '"z"."ctid"')]),
        (
            "SELECT b.x FROM b JOIN c ON b.x = c.x AND b.y = c.y",
            "b.x, b.y",
            [('"b"."x"', '"b"."y"'), ('"c"."x"', '"c"."y"')],
        ),
        (
            "SELECT b.x FROM b JOIN c ON b.x = c.x",
            "b.x, b.y",
            [('"b"."x"', '"b"."y"'), ('"c"."x"',)],
        ),
        (
            "SELECT b.x FROM b LEFT JOIN c ON b.x = c.x AND b.y = c.y",
            "b.x, b.y",
            [('"c"."x"', '"c"."y"'), ('"b"."x"', '"b"."y"')],
        ),
        ("SELECT z.p FROM b AS z (p, q)", "lower(y)", [("(lower(z.q))",)]),
    ],
)
def test_all_parts_of_a_key_are_restricted_wherever_they_are_known(
    sql: str, by: str, holes: list[tuple[str, ...]]
) -> None:
    found = verdict(f"INSERT INTO t {sql}", by)
    assert isinstance(found, Split)
    request = read_request(by)
    first, *then = [
        next(one for one in found.candidates if request.means(one, number))
        for number in range(max(1, len(request.parts)))
    ]
    facts = replace(catalogue(), expressions={2: EXPRESSION})
    template = restrict_column(found, replace(first, then=tuple(then)), facts, "2024-01-01")
    assert list(template.columns) == holes
