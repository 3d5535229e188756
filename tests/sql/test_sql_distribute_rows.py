"""What looks at more than one row, or is evaluated at another time, in every place it may stand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from postgast import pg_query_pb2 as pb
from sql_catalogue import catalogue, functions, in_words, tree_of, verdict_of

from pgfan.sql.constructs import ALLOWED, EXPLAINED, construct_objections
from pgfan.sql.distribute import Serial, distribute
from pgfan.sql.facts import CatalogFacts, FunctionFacts, Name
from pgfan.sql.tree import Nodes, kind_of, walk

# What follows "INSERT INTO t ", and the candidates or the reasons.
AGGREGATES = [
    ("SELECT count(*) FROM b", "! aggregate"),
    ("SELECT 1 + COALESCE(max(x), 0) FROM b", "! aggregate"),
    ("SELECT CASE WHEN x > 1 THEN count(*) END FROM b", "! aggregate"),
    ("SELECT ARRAY[count(*)], ROW(min(x)) FROM b", "! aggregate"),
    ("SELECT (array_agg(x))[1] FROM b", "! aggregate"),
    ("SELECT 'k' FROM b ORDER BY count(*)", "! aggregate"),
    ("SELECT 'k' FROM b HAVING true", "! aggregate"),
    ("SELECT 'k' FROM b HAVING count(*) > 1", "! aggregate"),
    ("SELECT x FROM b GROUP BY x", "column x b"),
    ("SELECT 1 FROM b GROUP BY ()", "! group-by"),
    ("SELECT x FROM b GROUP BY DISTINCT ROLLUP (x)", "! group-by"),
    ("SELECT x, count(*) FROM b GROUP BY x HAVING count(*) > 1", "column x b"),
    ("SELECT count(*) FILTER (WHERE x > 1) FROM b", "! aggregate"),
    ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FROM b", "! aggregate"),
    ("SELECT COUNT(*) FROM b", "! aggregate"),
    ('SELECT pg_catalog."count"(*) FROM b', "! aggregate"),
    ("SELECT app.product(x) FROM b", "! aggregate"),
    ("SELECT JSON_ARRAYAGG(x) FROM b", "! aggregate"),
    ("SELECT JSON_OBJECTAGG(y : x) FROM b", "! aggregate"),
    # Uncorrelated: every chunk evaluates it again, and must find the same.
    ("SELECT x FROM b WHERE x > (SELECT avg(c.x) FROM c)", "ctid b"),
    ("SELECT x, (SELECT count(*) FROM c) FROM b", "ctid b"),
    ("SELECT x, (SELECT string_agg(c.y, ',') FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT string_agg(c.y, ',' ORDER BY c.y) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT array_agg(c.y) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT JSON_ARRAYAGG(c.y) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT xmlagg(c.y::xml) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT mode() WITHIN GROUP (ORDER BY c.y) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT any_value(c.y) FROM c) FROM b", "! aggregate"),
    ("SELECT x, (SELECT app.product(c.x) FROM c) FROM b", "! aggregate"),
    ("SELECT x, ARRAY(SELECT c.y FROM c) FROM b", "! row-order"),
    ("SELECT x, ARRAY(SELECT c.y FROM c ORDER BY c.y LIMIT 3) FROM b", "! limit row-order"),
    ("SELECT x, JSON_ARRAY(SELECT c.y FROM c) FROM b", "! row-order"),
    (
        "SELECT x FROM b JOIN (SELECT x, sum(x) AS s FROM c GROUP BY x) q USING (x)",
        "ctid b, column x c",
    ),
    ("SELECT x FROM b, (SELECT count(DISTINCT y) AS k FROM c HAVING count(*) > 1) q", "ctid b"),
    # Correlated.
    ("SELECT (SELECT sum(c.x) FROM c WHERE c.y = b.y) FROM b", "ctid b"),
    ("SELECT (SELECT sum(c.x + b.n) FROM c) FROM b", "ctid b"),
    ("SELECT (SELECT count(*) FILTER (WHERE c.x > b.n) FROM c) FROM b", "ctid b"),
    # In some order, but an order for each row.
    ("SELECT (SELECT string_agg(c.y, ',') FROM c WHERE c.x = b.x) FROM b", "ctid b"),
    ("SELECT ARRAY(SELECT c.y FROM c WHERE c.x = b.x) FROM b", "ctid b"),
    ("SELECT x FROM b WHERE y = ANY (ARRAY(SELECT c.y FROM c WHERE c.x > b.x))", "ctid b"),
    ("SELECT ARRAY(SELECT c.y FROM c WHERE c.x = b.x) FROM c AS b", "ctid b"),
    ("SELECT ARRAY(SELECT b.y FROM c AS b WHERE b.x = 1) FROM b", "! row-order"),
    ("SELECT ARRAY(SELECT c.y FROM c WHERE x IN (SELECT b.x FROM d AS b)) FROM b", "! row-order"),
    ("SELECT ARRAY(SELECT c.y FROM c WHERE x IN (SELECT b.x)) FROM b", "! row-order"),
    ("SELECT ARRAY(SELECT c.y || b.y FROM c) FROM b", "! row-order"),
    ("SELECT ARRAY(SELECT c.y FROM c WHERE c.x = n) FROM b", "! row-order"),
    ("SELECT x FROM b, LATERAL (SELECT array_agg(y) FROM c WHERE c.x = b.x) q", "! aggregate"),
    (
        "SELECT (SELECT q.k FROM (SELECT array_agg(c.y) AS k FROM c WHERE c.x = b.x) q) FROM b",
        "! aggregate",
    ),
    ("SELECT (SELECT app.product(c.x) FROM c WHERE c.x = b.x) FROM b", "! aggregate"),
    ("SELECT (SELECT string_agg(b.y, ',') FROM c WHERE c.x = b.x) FROM b", "! aggregate"),
    # Its arguments belong to the outer query: then that is what is aggregated.
    ("SELECT (SELECT count(b.x)) FROM b", "! aggregate"),
    ("SELECT (SELECT sum(b.x) FROM c) FROM b", "! aggregate"),
    ("SELECT (SELECT sum(n) FROM c) FROM b", "! aggregate"),
    ("SELECT (SELECT max(b) FROM c) FROM b", "! aggregate"),
    ("SELECT (SELECT count(b.*) FROM c) FROM b", "! aggregate"),
    ("SELECT (SELECT sum((SELECT b.x)) FROM c) FROM b", "! aggregate"),
    ("SELECT x FROM b ORDER BY (SELECT sum(b.x))", "! aggregate"),
    ("SELECT (SELECT (SELECT sum(b.x) FROM d) FROM c) FROM b", "! aggregate"),
    # Names that are surely the subquery's own.
    ("SELECT (SELECT sum(x) FROM c) FROM b", "ctid b"),
    ("SELECT (SELECT sum(k) FROM c AS q (k)) FROM b", "ctid b"),
    ("SELECT (SELECT sum(x) FROM c AS q (k)) FROM b", "! aggregate"),
    ("SELECT (SELECT sum(k) FROM (SELECT x AS k FROM c) q) FROM b", "ctid b"),
    ("SELECT (SELECT sum(x) FROM (SELECT c.x FROM c UNION SELECT z FROM d) q) FROM b", "ctid b"),
    ("SELECT (SELECT sum(x) FROM (SELECT * FROM c) q) FROM b", "! aggregate"),
    ("SELECT (SELECT sum(g) FROM generate_series(1, 9) g) FROM b", "ctid b"),
    ("SELECT (SELECT sum(v) FROM unnest(ARRAY[1]) AS g (v)) FROM b", "ctid b"),
    ("SELECT (SELECT sum(v) FROM unnest(ARRAY[1]) AS g) FROM b", "! aggregate"),
    ("SELECT (SELECT sum(x) FROM c JOIN d ON x = z) FROM b", "ctid b"),
    ("SELECT (SELECT sum(c.x) FROM (c JOIN d ON true) AS j) FROM b, c AS k", "! aggregate"),
    ("SELECT (SELECT sum(j.x) FROM (c JOIN d ON true) AS j) FROM b", "ctid b"),
    ("SELECT (SELECT sum(x) FROM (c JOIN d ON true) AS j (x)) FROM b", "ctid b"),
    ("SELECT (SELECT sum(x) FROM (c JOIN d ON true) AS j (k)) FROM b", "! aggregate"),
    ("SELECT (SELECT max(ctid) FROM c) FROM b", "ctid b"),
    ("SELECT (SELECT grouping(x) FROM c GROUP BY ROLLUP (x) HAVING max(x) > 1) FROM b", "ctid b"),
]

ANY_KEY = "ctid b, column x b, column y b, column n b, column age b, column count b"
WINDOWS = [
    ("SELECT row_number() OVER () FROM b", "! window"),
    ("SELECT sum(x) OVER (PARTITION BY y) FROM b", "column y b"),
    ("SELECT count(*) OVER w FROM b WINDOW w AS (ORDER BY x)", "! window"),
    ("SELECT x FROM b WINDOW w AS (ORDER BY x)", "! window"),
    ("SELECT x FROM b ORDER BY rank() OVER (ORDER BY x)", "! window"),
    ("SELECT x FROM b WHERE x IN (SELECT lag(x) OVER (ORDER BY x) FROM c)", "! window"),
    # Window functions in a subquery that give rows which are equal in their order equal values.
    ("SELECT x FROM b WHERE x IN (SELECT rank() OVER (ORDER BY x) FROM c)", ANY_KEY),
    ("SELECT b.x, s.s FROM b, (SELECT sum(x) OVER (ORDER BY y) AS s FROM c) s", ANY_KEY),
    ("SELECT x FROM b WHERE x IN (SELECT count(*) OVER (PARTITION BY y) FROM c)", ANY_KEY),
    ("SELECT x FROM b WHERE x IN (SELECT row_number() OVER (ORDER BY x) FROM c)", "! window"),
    ("SELECT x FROM b WHERE x IN (SELECT ntile(3) OVER (ORDER BY x) FROM c)", "! window"),
    ("SELECT x FROM b WHERE x IN (SELECT last_value(x) OVER (ORDER BY y) FROM c)", "! window"),
    ("SELECT x FROM b WHERE y IN (SELECT string_agg(y, '') OVER () FROM c)", "! window"),
    (
        "SELECT x FROM b WHERE x IN (SELECT sum(x) OVER (ORDER BY y ROWS 1 PRECEDING) FROM c)",
        "! window",
    ),
    (
        "SELECT x FROM b WHERE x IN (SELECT sum(x) OVER w FROM c WINDOW w AS (ORDER BY y))",
        "! window",
    ),
    (
        (
            "SELECT x FROM b WHERE x IN (SELECT sum(x) OVER (w ROWS 1 PRECEDING) FROM c "
            "WINDOW w AS (ORDER BY y))"
        ),
        "! window",
    ),
    ("SELECT app.clean(x) OVER () FROM b", "! window"),
    ("SELECT first_value(x) FROM b", "! window"),
]

FUNCTION_CASES = [
    ("SELECT lower(y), app.clean(y), clean(y) FROM b", "ctid b"),
    ("SELECT random(), gen_random_uuid(), clock_timestamp(), nextval('s') FROM b", "ctid b"),
    ('SELECT RANDOM(), "random"(), pg_catalog.random() FROM b', "ctid b"),
    ("SELECT x FROM b WHERE random() < 0.1", "ctid b"),
    ("SELECT x FROM b WHERE COALESCE(random(), 1) IN (SELECT c.x FROM c)", "ctid b"),
    ("SELECT now(), pg_catalog.now(), current_date, localtimestamp(3) FROM b", "ctid b"),
    ("SELECT current_user, current_schema, version() FROM b", "ctid b"),
    ("SELECT age(x, y), to_char(x, 'YYYY'), extract(year FROM x) FROM b", "ctid b"),
    (
        "SELECT x AT TIME ZONE 'UTC', y COLLATE \"C\", (x, y) IS DISTINCT FROM (1, 2) FROM b",
        "ctid b",
    ),
    ("SELECT unnest(ARRAY[x]), app.pieces(y) FROM b", "ctid b"),
    # Volatile where every chunk would evaluate it again.
    ("SELECT (SELECT random()) FROM b", "! volatile-subquery"),
    ("SELECT x FROM b WHERE x > (SELECT random())", "! volatile-subquery"),
    ("SELECT b.x FROM b JOIN c ON random() < 0.5", "! volatile-subquery"),
    ("SELECT b.x FROM b, LATERAL (SELECT random() AS r) s", "! volatile-subquery"),
    ("SELECT b.x FROM b, random() AS r", "! volatile-subquery"),
    ("SELECT b.x FROM b, (VALUES (random())) AS r", "! volatile-subquery"),
    ("SELECT b.x FROM b, c WHERE c.x > random()", "! volatile-subquery"),
    (
        "SELECT b.x FROM b WHERE EXISTS (SELECT 1 FROM c WHERE nextval('s') > 1)",
        "! volatile-subquery",
    ),
    ("SELECT x FROM b ORDER BY random()", "! volatile-subquery"),
    (
        "SELECT x FROM b WHERE x IN (SELECT max(c.x) FILTER (WHERE random() > 0) FROM c)",
        "! volatile-subquery",
    ),
    # Functions that look at other rows, the transaction or the backend.
    ("SELECT currval('s') FROM b", "! function-volatile"),
    ("SELECT setval('s', x) FROM b", "! function-volatile"),
    ("SELECT setseed(0.5), random() FROM b", "! function-volatile"),
    ("SELECT COALESCE(lastval(), 0) FROM b", "! function-volatile"),
    ("SELECT array_shuffle(ARRAY[1, 2]) FROM b", "! function-volatile"),
    ("SELECT x FROM b WHERE pg_advisory_lock(1) IS NULL", "! function-volatile"),
    ("SELECT app.log_it(x) FROM b", "! function-volatile"),
    ("SELECT app.lookup(x) FROM b", "! function-volatile"),
    ("SELECT ARRAY[ROW(CASE WHEN true THEN lookup(x) END)] FROM b", "! function-volatile"),
    ("SELECT x FROM b JOIN LATERAL app.lookup(x) AS l ON true", "! function-volatile"),
    ("SELECT x FROM b JOIN c ON app.lookup(b.x) = c.x", "! function-volatile"),
    (
        "SELECT x FROM b, XMLTABLE('/r' PASSING app.lookup(y) COLUMNS k int PATH 'k') q",
        "! function-volatile",
    ),
    (
        "SELECT x FROM b, JSON_TABLE(app.lookup(y), '$' COLUMNS (k int PATH '$')) q",
        "! function-volatile",
    ),
    ("SELECT txid_current() FROM b", "! function-volatile"),
    ("SELECT txid_current_snapshot() FROM b", "! function-unstable"),
    ("SELECT age(x) FROM b", "! function-unstable"),
    ("SELECT date_part('year', pg_catalog.age(x)) FROM b", "! function-unstable"),
    ("SELECT mxid_age(x) FROM b", "! function-unstable"),
    ("SELECT current_setting('transaction_isolation') FROM b", "! function-unstable"),
    ("SELECT inet_client_port() FROM b", "! function-unstable"),
    ("SELECT table_to_xml('c', true, true, '') FROM b", "! function-unstable"),
    ("SELECT COLLATION FOR (y) FROM b", "! function-unknown"),
    ("SELECT no_such(x) FROM b", "! function-unknown"),
    ("SELECT x(b) FROM b", "! function-unknown"),
    ("SELECT other.lower(y) FROM b", "! function-unknown"),
    ("SELECT no_such(VARIADIC ARRAY[x]), no_such(a => x) FROM b", "! function-unknown"),
    # Attribute notation calls functions where there is no such column.
    ("SELECT b.total FROM b", "! attribute-function"),
    ("SELECT (b).total FROM b", "! attribute-function"),
    ("SELECT (b.x).nextval FROM b", "! attribute-function"),
    ("SELECT ('s'::regclass).nextval FROM b", "! attribute-function"),
    ("SELECT (y::timestamp).age FROM b", "! attribute-function"),
    ("SELECT (b.tags).unnest, generate_series(1, 3) FROM b", "! attribute-function"),
    ("SELECT c.count FROM c", "! attribute-function"),
    ("SELECT public.c.count FROM c", "! attribute-function"),
    ("SELECT q.array_agg FROM c AS q", "! attribute-function"),
    ("SELECT (SELECT c.count FROM c) FROM b", "! attribute-function"),
    ("SELECT b.count, b.age FROM b", "ctid b"),
    ("SELECT q.count FROM b AS q", "ctid q"),
    ("SELECT q.count FROM c AS q (count)", "ctid q"),
    ("SELECT q.count FROM b AS q (i, j, k, l, m)", "! attribute-function"),
    ("SELECT q.count, c.x FROM (SELECT count(*) AS count FROM d) q, c", "ctid c"),
    ("SELECT c.x, c.y, c.shout, c.upper FROM c", "ctid c"),
    # Operators.
    ("SELECT x @@@ 1 FROM b", "! operator-unknown"),
    ("SELECT x OPERATOR(app.@@@) 1 FROM b", "! operator-unknown"),
    ("SELECT x FROM b WHERE x @@@ ANY (SELECT x FROM c)", "! operator-unknown"),
    ("SELECT x FROM b ORDER BY x USING @@@", "! operator-unknown"),
    ("SELECT ### x FROM b", "! operator-unknown"),
    ("SELECT x *** 1 FROM b", "ctid b"),
    (
        "SELECT x BETWEEN SYMMETRIC 1 AND 2, x NOT BETWEEN 1 AND 2, y ILIKE 'k' FROM b",
        "ctid b",
    ),
    # The clock in a constant.
    ("SELECT 'now'::timestamp FROM b", "! special-datetime"),
    ("SELECT timestamp 'now' FROM b", "! special-datetime"),
    ("SELECT CAST('  ToDaY ' AS date) FROM b", "! special-datetime"),
    ("SELECT 'now'::text::timestamptz FROM b", "! special-datetime"),
    ("SELECT E'n\\157w'::timestamptz FROM b", "! special-datetime"),
    ("SELECT U&'\\006eow'::timestamptz FROM b", "! special-datetime"),
    ("SELECT $$now$$::timestamptz FROM b", "! special-datetime"),
    ("SELECT '12:00today'::timestamp FROM b", "! special-datetime"),
    ("SELECT 'now_'::timestamp FROM b", "! special-datetime"),
    ("SELECT '{2024-01-01,yesterday}'::date[] FROM b", "! special-datetime"),
    ("SELECT '[today,)'::daterange FROM b", "! special-datetime"),
    (f"SELECT '{' ' * 300}tomorrow'::date FROM b", "! special-datetime"),
    ("SELECT ('no' || 'w')::timestamp FROM b", "! special-datetime"),
    ("SELECT ('no' || 'w')::timestamp::text::int FROM b", "! special-datetime"),
    ("SELECT ('no' || 'w')::text FROM b", "! special-datetime"),
    ("SELECT length('no' || 'w')::int, ('1' || '2')::numeric(9, 2) FROM b", "ctid b"),
    ("SELECT x FROM b JOIN c ON c.y = 'today'", "! special-datetime"),
    (
        "SELECT (x || '-01-01')::date, 'knowledge', 'nowadays'::text, 'infinity'::date FROM b",
        "ctid b",
    ),
]

CONSTRUCTS = [
    ("SELECT x FROM b, XMLTABLE('/r' PASSING (y::xml) COLUMNS k int PATH 'k') q", "ctid b"),
    ("SELECT x FROM b, JSON_TABLE(y::jsonb, '$[*]' COLUMNS (k int PATH '$')) q", "ctid b"),
    ("SELECT JSON_OBJECT('k' : x), JSON_ARRAY(x, y), JSON(y), JSON_SCALAR(x) FROM b", "ctid b"),
    ("SELECT JSON_VALUE(y, '$.k' DEFAULT 1 ON EMPTY), JSON_EXISTS(y, '$.k') FROM b", "ctid b"),
    ("SELECT y IS JSON OBJECT, JSON_SERIALIZE(y) FROM b", "ctid b"),
    ("SELECT xmlelement(name k, x), xmlconcat(y::xml), y IS DOCUMENT FROM b", "ctid b"),
    (
        "SELECT GREATEST(x, 1), COALESCE(y, 'k'), x IS NOT NULL, x IS TRUE, B'101', 1.5e3 FROM b",
        "ctid b",
    ),
    ("SELECT (ARRAY[x])[1:2], ROW(x, y), x::numeric(9, 2)[] FROM b", "ctid b"),
    ("SELECT merge_action() FROM b", "! unknown-construct"),
    ("SELECT DEFAULT FROM b", "! unknown-construct"),
]


@pytest.mark.parametrize(("query", "expected"), AGGREGATES + WINDOWS + FUNCTION_CASES + CONSTRUCTS)
def test_what_a_split_may_evaluate(query: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {query}")) == expected


@pytest.mark.parametrize(
    "query",
    [
        "SELECT b.x FROM b JOIN c USING (x)",
        "SELECT b.x FROM b NATURAL JOIN c",
        "SELECT x FROM b WHERE x IN (SELECT x FROM c)",
        "SELECT x FROM b WHERE x IN (1, 2)",
        "SELECT CASE x WHEN 1 THEN 2 END FROM b",
        "SELECT NULLIF(x, 1) FROM b",
        "SELECT x IS NOT DISTINCT FROM 1 FROM b",
    ],
)
def test_syntax_that_implies_equality_calls_the_operator(query: str) -> None:
    users: dict[Name, tuple[FunctionFacts, ...]] = {("=",): (FunctionFacts("app", "v"),)}
    found = verdict_of(f"INSERT INTO t {query}", replace(catalogue(), operators=users))
    assert in_words(found) == "! operator-unknown"


@pytest.mark.parametrize("between", ["BETWEEN", "BETWEEN SYMMETRIC"])
@pytest.mark.parametrize(
    ("negation", "symbol"), [("", ">="), ("", "<="), ("NOT", "<"), ("NOT", ">")]
)
def test_between_calls_two_operators(between: str, negation: str, symbol: str) -> None:
    users: dict[Name, tuple[FunctionFacts, ...]] = {(symbol,): (FunctionFacts("app", "s"),)}
    sql = f"INSERT INTO t SELECT x {negation} {between} 1 AND 2 FROM b"
    assert in_words(verdict_of(sql, replace(catalogue(), operators=users))) == "! operator-unknown"


@pytest.mark.parametrize(
    ("call", "users", "expected"),
    [
        # Which one is called depends on types that are not known here: both must be sound.
        ("lower(y)", FunctionFacts("app", "v"), "! function-volatile"),
        ("lower(y)", FunctionFacts("app", "i"), "ctid b"),
        ("setval(y)", FunctionFacts("app", "i"), "! function-volatile"),
        ("age(y)", FunctionFacts("app", "i"), "! function-unstable"),
        ("now()", FunctionFacts("app", "i"), "! function-unstable"),
        ("random()", FunctionFacts("app", "i"), "ctid b"),
        ("random()", FunctionFacts("app", "v"), "! function-volatile"),
        ("count(y)", FunctionFacts("app", "i"), "! aggregate"),
        ("lower(y)", FunctionFacts("app", "i", kind="a"), "! aggregate"),
        ("(SELECT count(*) FROM c)", FunctionFacts("app", "i", kind="a"), "! aggregate"),
        ("lower(y)", FunctionFacts("app", "i", kind="w"), "! window"),
    ],
)
def test_a_users_function_beside_a_built_in_one(
    call: str, users: FunctionFacts, expected: str
) -> None:
    name = call.removeprefix("(SELECT ").partition("(")[0]
    shadowed = {**functions(), (name,): (users, *functions()[name,])}
    facts = replace(catalogue(), functions=shadowed)
    assert in_words(verdict_of(f"INSERT INTO t SELECT {call} FROM b", facts)) == expected


def test_one_unsafe_cast_in_the_database_is_enough() -> None:
    facts = replace(catalogue(), unsafe_casts=("text AS app.mood",))
    assert in_words(verdict_of("INSERT INTO t SELECT x FROM b", facts)) == "! cast-function"


def test_a_server_that_is_no_plain_postgresql_refuses_first() -> None:
    facts = replace(catalogue(), server_refuses_split="this is Citus")
    assert in_words(verdict_of("SELECT 1", facts)) == "! server"


def test_an_empty_catalogue_knows_nothing() -> None:
    found = verdict_of("INSERT INTO t SELECT lower(x) FROM b", CatalogFacts())
    assert in_words(found) == "! function-unknown relation-unknown"


UNTHOUGHT = sorted(
    name
    for name in pb.DESCRIPTOR.message_types_by_name
    if name not in ALLOWED | EXPLAINED | {"Node", "JsonAggConstructor"}
)


@pytest.mark.parametrize("name", UNTHOUGHT)
def test_a_node_type_that_nobody_thought_of_is_serial(name: str) -> None:
    tree = tree_of("INSERT INTO t SELECT x FROM b")
    target = tree.select_stmt.select_stmt.target_list[0].res_target
    field = next((f for f in pb.Node.DESCRIPTOR.fields if f.message_type.name == name), None)
    if field is None:  # it hangs elsewhere than in a Node: as the walk would find it
        reasons = {r.code for r in construct_objections(Nodes([getattr(pb, name)()]))}
        assert reasons
        return
    getattr(target.val, field.name).SetInParent()
    assert name in {kind_of(node) for node in walk(tree)}
    found = distribute(tree, catalogue())
    assert isinstance(found, Serial)
    assert {reason.code for reason in found.reasons} & {
        "unknown-construct",
        "aggregate",
        "row-order",
    }


def test_almost_every_node_type_is_unthought_of() -> None:
    assert len(UNTHOUGHT) > 200
    assert not [
        name for name in ALLOWED | EXPLAINED if name not in pb.DESCRIPTOR.message_types_by_name
    ]


@pytest.mark.parametrize("terms", [400, 3_000])
def test_what_is_nested_too_deeply_to_be_rewritten_is_serial(terms: int) -> None:
    sql = f"INSERT INTO t SELECT {' + '.join(['x'] * terms)} FROM b"
    expected = "ctid b" if terms == 400 else "! deparse"
    assert in_words(verdict_of(sql)) == expected
