"""Bounds read from real servers: their ranges hold every row once, and about equally many rows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pgfan.errors import DatabaseError
from pgfan.postgres.bounds import ColumnBounds, bounds_of, read_bounds, read_column
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

# Type, and an expression over i, 0 to 2999, that gives values of it.
TYPES = {
    "int2": "(i % 200)::int2 - 100::int2",
    "int4": "i * 7919 % 3000",
    "int8": "CASE i WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775808 ELSE i END",
    "numeric": "CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE i / 8.00 END",
    "numeric(10,3)": "i * i / 7.0",
    "float4": "(CASE i % 40 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN '0' WHEN 3 THEN "
    "'-Infinity' WHEN 4 THEN 'Infinity' ELSE (i / 7.0)::text END)::float4",
    "float8": "ln(i + 1) / 3 * CASE WHEN i % 2 = 0 THEN 1 ELSE -1e300 END",
    "text": "md5(i::text)",
    'text COLLATE "C"': "chr(33 + i % 500) || i",
    'text COLLATE "und-x-icu"': "chr(33 + i % 500) || i",
    "text /* hostile */": "(ARRAY['', 'NULL', '\"', '\\', 'a,b', '{x}', '''', E'\\n', ' ', "
    "'{type}', '\"a\"', '%s', '\\''', 'ÿ€😀', '$1'])[1 + i % 15] || repeat('z', i / 600)",
    "varchar(40)": "repeat(chr(65 + i % 26), 1 + i % 40)",
    "char(12)": "'k ' || i % 777",
    '"char"': '(chr(33 + i % 90))::"char"',
    "name": "('n' || i % 1000)::name",
    "uuid": "md5(i::text)::uuid",
    "date": "CASE i % 99 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN "
    "'0044-03-15 BC' ELSE date '1999-12-25' + i END",
    "timestamp": "CASE i % 99 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' "
    "ELSE timestamp '1999-12-25' + i * interval '1 hour 1 microsecond' END",
    "timestamptz": "timestamptz '1850-01-01 00:00+00' + i * interval '37 days 3 hours'",
    "time": "time '00:00' + i * interval '28 seconds'",
    "timetz": "(time '00:00' + i * interval '28 seconds')::timetz",
    "interval": "i % 60 * interval '-1 year 2 mons -3 days 4 hours' + i * interval '1.5 seconds'",
    "bool": "i % 3 = 0",
    "bytea": "decode(md5(i::text), 'hex')",
    "mood": "(ARRAY['zest', 'angst', 'it''s \"odd\", isn\\t it'])[1 + i % 3]::mood",
    "inet": "'10.0.0.0'::inet + i * 997",
    "bit(12)": "i::bit(12)",
    "varbit": "i::bit(12)::varbit",
    "money": "(i * 13)::money",
    "oid": "(4294967295 - i)::oid",
    "jsonb": "jsonb_build_object('k', i, 'q', '\"')",
    "int4range": "int4range(i % 100, 200 + i)",
    "positive": "1 + i",
}
SCHEMA = """
CREATE TYPE mood AS ENUM ('zest', 'angst', 'it''s "odd", isn\\t it');
CREATE DOMAIN positive_base AS integer CHECK (VALUE <> -1);
CREATE DOMAIN positive AS positive_base CHECK (VALUE > 0);
"""
PARTS = 12


@pytest.fixture
def session(dsn: str) -> Iterator[PostgresSession]:
    opened = PostgresSession(complete_dsn(dsn))
    # With statistics that lie, compiling and starting workers for the checks takes seconds.
    opened.execute("SET jit = off; SET max_parallel_workers_per_gather = 0")
    yield opened
    opened.close()


def oid_of(session: PostgresSession, relation: str) -> int:
    return int(session.execute(f"SELECT {literal(relation)}::regclass::oid")[0].rows[0][0] or 0)


def scanned(session: PostgresSession) -> tuple[int, int]:
    """Sequential scans of the tables so far, and blocks that were looked at."""
    query = (
        "SELECT sum(s.seq_scan), sum(i.heap_blks_read + i.heap_blks_hit) FROM pg_stat_user_tables "
        "s JOIN pg_statio_user_tables i USING (relid)"
    )
    session.execute("SELECT pg_stat_force_next_flush()")
    scans, blocks = session.execute(query)[-1].rows[0]
    return int(scans or 0), int(blocks or 0)


def has_icu(session: PostgresSession) -> bool:
    """The packaged server is built without it."""
    rows = session.execute("SELECT FROM pg_collation WHERE collname = 'und-x-icu'")[0].rows
    return bool(rows)


def predicates(column: str, type_name: str, bounds: tuple[str, ...]) -> list[str]:
    name = identifier(column)
    texts = [f"{literal(bound)}::{type_name}" for bound in bounds]
    if not texts:
        return ["true"]
    return [
        f"({name} < {texts[0]} OR {name} IS NULL)",
        *(f"({name} >= {lo} AND {name} < {hi})" for lo, hi in itertools.pairwise(texts)),
        f"({name} >= {texts[-1]})",
    ]


def check(
    session: PostgresSession, relation: str, column: str, type_name: str, bounds: tuple[str, ...]
) -> list[tuple[int, int]]:
    """Every row is in one range; returns (rows, rows of the most frequent value) of each range."""
    ranges = predicates(column, type_name, bounds)
    times = " + ".join(f"COALESCE({each}, false)::int" for each in ranges)
    (missed,) = session.execute(f"SELECT count(*) FROM {relation} WHERE {times} <> 1")[0].rows[0]
    assert missed == "0", bounds
    cases = " ".join(f"WHEN {each} THEN {number}" for number, each in enumerate(ranges))
    rows = session.execute(
        f"SELECT piece, sum(n), max(n) FROM (SELECT CASE {cases} END AS piece, count(*) AS n "
        f"FROM {relation} GROUP BY 1, {identifier(column)}) AS g GROUP BY piece"
    )[0].rows
    found = {int(piece or 0): (int(held or 0), int(most or 0)) for piece, held, most in rows}
    return [found.get(number, (0, 0)) for number in range(len(ranges))]


def read(
    session: PostgresSession, relation: str, column: str, type_name: str, parts: int = PARTS
) -> ColumnBounds:
    """Read and check; type without typmod or collation."""
    found = read_bounds(session, oid_of(session, relation), column, parts)
    assert len(found.bounds) < parts
    check(session, relation, column, type_name, found.bounds)
    return found


def assert_fair(held: list[tuple[int, int]], parts: int) -> None:
    """But for one value each, no range holds more than 2.5 fair shares."""
    fair = sum(rows for rows, _ in held) / parts
    assert all(rows - most <= 2.5 * fair for rows, most in held), held
    # A range over its share has nothing but its hot value and what no statistics tell apart.
    assert all(rows <= 2.5 * fair or most > fair for rows, most in held), held


STYLES = {
    "plain": "SELECT 1",
    "odd": "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET TimeZone = "
    "'Asia/Kolkata'; SET extra_float_digits = -15; SET bytea_output = 'escape'; "
    "SET quote_all_identifiers = on",
}


@pytest.mark.parametrize("style", STYLES)
def test_every_type_is_covered(session: PostgresSession, style: str) -> None:
    session.execute(SCHEMA)
    session.execute(STYLES[style])
    for declared, expression in TYPES.items():
        if "icu" in declared and not has_icu(session):
            continue
        bare = declared.split("(")[0].split(" ")[0]
        bare = {"bit": 'pg_catalog."bit"', "char": "bpchar"}.get(bare, bare)
        session.execute(
            f"DROP TABLE IF EXISTS t; CREATE TABLE t (i int, v {declared}) WITH "
            f"(autovacuum_enabled = off); INSERT INTO t SELECT i, CASE WHEN i % 11 <> 5 THEN "
            f"{expression} END FROM generate_series(0, 2999) AS g(i)"
        )
        sampled = read(session, "t", "v", bare)
        assert sampled.rows == 3000, declared
        session.execute("ANALYZE t")
        analysed = read(session, "t", "v", bare)
        assert analysed.rows == pytest.approx(3000), declared
        enough = 1 if declared in {"bool", "mood"} else 4
        # An int4range has statistics of its own kind only.
        for found in (sampled, analysed):
            assert len(found.bounds) >= enough, declared


SKEWS = {
    "even": "i",
    "one value": "7",
    "two values": "CASE WHEN i % 1000 = 0 THEN 1 ELSE 2 END",
    "half is one value": "CASE WHEN i % 2 = 0 THEN 3333 ELSE i % 9000 END",
    "first is hot": "CASE WHEN i % 3 = 0 THEN 0 ELSE i END",
    "last is hot": "CASE WHEN i % 3 = 0 THEN 10000000 ELSE i END",
    "Zipf": "(2000 ^ random())::int",
    "steep": "(1e6 * random() ^ 8)::int",
    "three hot": "CASE WHEN i % 5 < 3 THEN i % 5 * 60000 ELSE i END",
    "nulls": "CASE WHEN i % 3 = 0 THEN i END",
    "all null": "NULL",
    "pairs": "i / 2 % 37",
}


@pytest.mark.parametrize("skew", SKEWS)
def test_ranges_are_fair_with_fresh_statistics(session: PostgresSession, skew: str) -> None:
    session.execute("SELECT setseed(0.5)")
    session.execute(
        "CREATE TABLE t (v int) WITH (autovacuum_enabled = off); INSERT INTO t SELECT "
        f"{SKEWS[skew]} FROM generate_series(0, 99999) AS g(i) ORDER BY random(); ANALYZE t"
    )
    for parts in (2, 8, 30):
        found = read_bounds(session, oid_of(session, "t"), "v", parts)
        assert_fair(check(session, "t", "v", "int", found.bounds), parts)
        assert len(found.bounds) < parts
    if skew == "even":
        assert len(found.bounds) > 20


def test_hot_values_stand_alone(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t (v text); INSERT INTO t SELECT CASE WHEN i % 10 < 4 THEN 'hot' WHEN "
        "i % 10 < 7 THEN 'warm' ELSE 'w' || i % 4 END FROM generate_series(0, 9999) AS g(i)"
    )
    sampled = read(session, "t", "v", "text", 8).bounds
    session.execute("ANALYZE t")
    analysed = read(session, "t", "v", "text", 8).bounds
    assert sampled == analysed == ("w0", "w1", "w2", "w3", "warm")


def test_statistics_spare_the_table(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t (v int) WITH (autovacuum_enabled = off); INSERT INTO t SELECT i FROM "
        "generate_series(1, 200000) AS g(i); ANALYZE t"
    )
    before = scanned(session)
    found = read_bounds(session, oid_of(session, "t"), "v", 16)
    assert scanned(session) == before
    assert len(found.bounds) > 12
    assert found.rows == pytest.approx(200_000)


@pytest.mark.parametrize("partitions", [0, 5])
def test_a_sample_reads_a_part(session: PostgresSession, partitions: int) -> None:
    session.execute(
        "CREATE TABLE t (v int, w text) "
        + ("PARTITION BY HASH (v)" if partitions else "WITH (autovacuum_enabled = off)")
    )
    for number in range(partitions):
        session.execute(
            f"CREATE TABLE t{number} PARTITION OF t FOR VALUES WITH (MODULUS {partitions}, "
            f"REMAINDER {number}) WITH (autovacuum_enabled = off)"
        )
    session.execute(
        "INSERT INTO t SELECT (random() * 1e6)::int, repeat('x', 150) "
        "FROM generate_series(1, 200000)"
    )
    scans, blocks = scanned(session)
    found = read_bounds(session, oid_of(session, "t"), "v", 8)
    scans_after, blocks_after = scanned(session)
    assert scans_after == scans
    assert 100 < blocks_after - blocks < 800  # of more than 4,000
    assert_fair(check(session, "t", "v", "int", found.bounds), 8)
    assert found.rows == pytest.approx(200_000, rel=0.5)


@pytest.mark.parametrize("analysed", [True, False])
def test_a_sample_of_a_large_heap_asks_for_rows_by_their_places(
    session: PostgresSession, monkeypatch: pytest.MonkeyPatch, analysed: bool
) -> None:
    monkeypatch.setattr("pgfan.postgres.bounds.TABLESAMPLE_BLOCKS_MAX", 100)
    session.execute(
        "CREATE TABLE t (v int, w text) WITH (autovacuum_enabled = off); INSERT INTO t "
        "SELECT (random() * 1e6)::int, repeat('x', 150) FROM generate_series(1, 100000)"
    )
    column = read_column(session, oid_of(session, "t"), "v")
    if analysed:
        session.execute("ANALYZE t (w)")
        column = read_column(session, oid_of(session, "t"), "v")
    scans, _ = scanned(session)
    found = bounds_of(session, column, 8)
    assert scanned(session)[0] == scans
    assert "ctid" in column.sample[0]
    assert_fair(check(session, "t", "v", "int", found.bounds), 8)
    if analysed:
        assert found.rows == pytest.approx(100_000, rel=0.5)


def test_tiny_relations(session: PostgresSession) -> None:
    session.execute("CREATE TABLE t (v text)")
    assert read(session, "t", "v", "text") == ColumnBounds((), 0.0)
    session.execute("ANALYZE t")
    assert read(session, "t", "v", "text") == ColumnBounds((), 0.0)
    session.execute("INSERT INTO t VALUES (NULL), (NULL)")
    assert read(session, "t", "v", "text") == ColumnBounds((), 2.0)
    session.execute("ANALYZE t")
    assert read(session, "t", "v", "text") == ColumnBounds((), 2.0)
    session.execute("TRUNCATE t; INSERT INTO t VALUES ('one')")
    assert read(session, "t", "v", "text") == ColumnBounds((), 1.0)
    session.execute("ANALYZE t; INSERT INTO t VALUES ('two')")
    assert read(session, "t", "v", "text", 1).bounds == ()
    assert read(session, "t", "v", "text").bounds == ("two",)


def test_grown_relations_are_sampled(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t (v int) WITH (autovacuum_enabled = off); INSERT INTO t SELECT 1 FROM "
        "generate_series(1, 1000); ANALYZE t; "
        "INSERT INTO t SELECT i FROM generate_series(1, 20000) AS g(i)"
    )
    found = read_bounds(session, oid_of(session, "t"), "v", 8)
    assert_fair(check(session, "t", "v", "int", found.bounds), 8)
    assert found.rows == 21_000


@pytest.mark.parametrize("lie", ["{0,0,0,0}", "{NaN,Infinity,-5,1e30}", "{1000,1000,1000,1000}"])
def test_lies_give_valid_bounds(session: PostgresSession, lie: str) -> None:
    session.execute(
        "CREATE TABLE t (v int) WITH (autovacuum_enabled = off); INSERT INTO t SELECT CASE WHEN "
        "i % 2 = 0 THEN i % 7 ELSE i END FROM generate_series(1, 9999) AS g(i); ANALYZE t;"
        f"UPDATE pg_statistic SET stanullfrac = 'NaN', stanumbers1 = '{lie}' "
        "WHERE starelid = 't'::regclass; "
        "UPDATE pg_class SET reltuples = reltuples * 1000 WHERE relname = 't'"
    )
    assert read(session, "t", "v", "int").rows == pytest.approx(9_999_000)
    session.execute(
        "UPDATE pg_statistic SET stavalues2 = array_in('{5,3,3,900000,-8,5}', 23, -1) "
        "WHERE starelid = 't'::regclass"
    )
    read(session, "t", "v", "int")


def test_partitions_and_children(session: PostgresSession) -> None:
    quiet = "WITH (autovacuum_enabled = off)"  # autovacuum looks at blocks, too
    session.execute(
        "CREATE TABLE p (k int, v int) PARTITION BY LIST (k); "
        f"CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0) {quiet}; "
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (k); "
        f"CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1) {quiet}; "
        f"CREATE TABLE h (k int, v int) {quiet}; CREATE TABLE h1 () INHERITS (h) {quiet}; "
        "INSERT INTO p SELECT i % 2, i FROM generate_series(0, 19999) AS g(i); "
        "INSERT INTO h SELECT 0, i FROM generate_series(0, 99) AS g(i); "
        "INSERT INTO h1 SELECT 0, i FROM generate_series(1000, 20899) AS g(i)"
    )
    grow = "INSERT INTO p SELECT 0, -i FROM generate_series(1, 90000) AS g(i)"
    for step in ("SELECT 1", "ANALYZE", grow):
        session.execute(step)
        for relation in ("p", "h"):
            before = scanned(session)
            found = read_bounds(session, oid_of(session, relation), "v", 8)
            # The statistics of p are those of before it grew.
            sampled = step == "SELECT 1" or (step == grow and relation == "p")
            assert (scanned(session) != before) is sampled, (step, relation)
            held = check(session, relation, "v", "int", found.bounds)
            assert_fair(held, 8)
            assert found.rows == pytest.approx(sum(rows for rows, _ in held), rel=0.05)


def test_views_and_foreign_tables_have_one_range(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t AS SELECT i AS v FROM generate_series(1, 99) AS g(i); CREATE VIEW w AS "
        "SELECT * FROM t; CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; "
        "CREATE FOREIGN TABLE r (v int) SERVER s; CREATE MATERIALIZED VIEW m AS SELECT * FROM t; "
        "CREATE TABLE p (v int) PARTITION BY RANGE (v); "
        "CREATE FOREIGN TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (9) SERVER s"
    )
    for relation in ("w", "r", "p"):
        found = read_bounds(session, oid_of(session, relation), "v", 8)
        assert found == ColumnBounds((), -1.0), relation
    assert len(read(session, "m", "v", "int", 8).bounds) > 5


def test_a_hostile_search_path_and_names(session: PostgresSession) -> None:
    operators = "; ".join(
        f"CREATE OPERATOR evil.{sign} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = evil.{name})"
        for kind, name in (
            ("oid", "o"),
            ("name", "n"),
            ("int", "i"),
            ("float8", "f"),
            ("bool", "b"),
        )
        for sign in ("=", "<", "<=", "/")
    )
    functions = "; ".join(
        f"CREATE FUNCTION evil.{name}({kind}, {kind}) RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'evil'; END $$"
        for kind, name in (
            ("oid", "o"),
            ("name", "n"),
            ("int", "i"),
            ("float8", "f"),
            ("bool", "b"),
        )
    )
    session.execute(
        'CREATE SCHEMA evil; CREATE SCHEMA "We""ird {type}"; CREATE TABLE "We""ird {type}"."t {0}"'
        ' ("Co""l %s\'" int); INSERT INTO "We""ird {type}"."t {0}" SELECT i FROM '
        f"generate_series(1, 5000) AS g(i); {functions}; {operators}; "
        "CREATE FUNCTION evil.unnest(int[]) RETURNS int LANGUAGE sql AS 'SELECT 1/0'; "
        "CREATE DOMAIN evil.int4 AS text; CREATE DOMAIN evil.text AS int"
    )
    oid = oid_of(session, '"We""ird {type}"."t {0}"')
    for step in ("SELECT 1", "ANALYZE"):
        session.execute(step)
        session.execute("SET search_path = evil, pg_catalog")
        found = read_bounds(session, oid, "Co\"l %s'", 8)
        session.execute("RESET search_path")
        assert len(found.bounds) == 7
        held = check(session, '"We""ird {type}"."t {0}"', "Co\"l %s'", "int", found.bounds)
        assert_fair(held, 8)


def test_long_values_are_no_bounds(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t (v text); INSERT INTO t SELECT chr(97 + i % 26) || CASE WHEN i % 2 = 0 "
        "THEN repeat('é', 499 + i % 4) ELSE repeat(md5(i::text), 3000) END FROM "
        "generate_series(0, 999) AS g(i)"
    )
    for step in ("SELECT 1", "ANALYZE"):
        session.execute(step)
        found = read(session, "t", "v", "text")
        assert len(found.bounds) > 4
        assert all(len(bound) <= 500 for bound in found.bounds)


def test_unread_statistics_are_replaced_by_a_sample(session: PostgresSession) -> None:
    session.execute(
        "CREATE TABLE t (v int, w int); INSERT INTO t SELECT i, i FROM generate_series(1, 5000) "
        "AS g(i); ANALYZE t; DELETE FROM pg_statistic WHERE starelid = 't'::regclass"
    )
    assert len(read(session, "t", "v", "int", 8).bounds) == 7
    session.execute("DROP ROLE IF EXISTS pgfan_reader; CREATE ROLE pgfan_reader; ANALYZE t")
    session.execute("GRANT SELECT (v) ON t TO pgfan_reader; SET ROLE pgfan_reader")
    try:
        assert len(read_bounds(session, oid_of(session, "t"), "v", 8).bounds) == 7
        with pytest.raises(DatabaseError, match="permission denied"):
            read_bounds(session, oid_of(session, "t"), "w", 8)
    finally:
        session.execute("RESET ROLE; DROP OWNED BY pgfan_reader; DROP ROLE pgfan_reader")


def test_an_order_with_equal_different_texts_is_no_key(session: PostgresSession) -> None:
    if not has_icu(session):
        pytest.skip("such collations are ICU's, and this server is built without it")
    session.execute(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', "
        "deterministic = false); CREATE TABLE t (folded text COLLATE loose)"
    )
    with pytest.raises(ValueError, match="not deterministic"):
        read_bounds(session, oid_of(session, "t"), "folded", 8)


def test_what_is_no_key(session: PostgresSession) -> None:
    session.execute(
        "CREATE TYPE pair AS (a int, b int); CREATE TABLE t (many int[], "
        "row pair, doc json, spot point, gone int, fine int); ALTER TABLE t DROP COLUMN gone"
    )
    oid = oid_of(session, "t")
    for column in ("many", "row", "doc", "spot", "gone", "ctid", "none"):
        with pytest.raises(ValueError, match=r"no type|btree|no column"):
            read_bounds(session, oid, column, 8)
    with pytest.raises(ValueError, match="no column"):
        read_bounds(session, 2**32 - 1, "fine", 8)
    assert read_bounds(session, oid, "fine", 8).bounds == ()


def test_the_session_keeps_its_settings(session: PostgresSession) -> None:
    session.execute("CREATE TABLE t AS SELECT i AS v FROM generate_series(1, 99) AS g(i)")
    session.execute(STYLES["odd"])
    read_bounds(session, oid_of(session, "t"), "v", 8)
    shown = session.execute(
        "SHOW DateStyle; SHOW IntervalStyle; SHOW extra_float_digits; SHOW bytea_output"
    )
    values = [answer.rows[0][0] for answer in shown]
    assert values == ["SQL, DMY", "sql_standard", "-15", "escape"]
    assert session.notices() == []


def test_the_text_does_not_depend_on_the_session(session: PostgresSession) -> None:
    session.execute(
        "SET TimeZone = 'Asia/Kolkata'; CREATE TABLE t AS SELECT "
        "timestamptz '1850-01-01 00:00+00' + i * interval '37 days 3 hours' AS at, "
        "i / 7.0::float8 AS real, i * interval '-1 year 2 mons -3 days 4 hours' AS span, "
        "decode(md5(i::text), 'hex') AS raw FROM generate_series(1, 999) AS g(i)"
    )
    oid = oid_of(session, "t")
    for step in ("SELECT 1", "ANALYZE t"):
        session.execute(step)
        for column in ("at", "real", "span", "raw"):
            session.execute("RESET ALL; SET TimeZone = 'Asia/Kolkata'")
            expected = read_bounds(session, oid, column, 8).bounds
            session.execute(STYLES["odd"])
            assert read_bounds(session, oid, column, 8).bounds == expected, column
            assert len(expected) > 5
