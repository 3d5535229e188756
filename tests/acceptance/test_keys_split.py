"""Keys that the user names, hot values and odd values: the rows of one connection, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from side_by_side import (
    SPLIT,
    Case,
    Outcome,
    Recorder,
    both_ways,
    execute,
    execute_alone,
    pgfan,
    reused_dsn,
    split_both_ways,
    value,
)

from pgfan import api
from pgfan.events import ChunkStarted, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

dsn = reused_dsn

FILL = (
    # Nine of ten rows have one province; some have none, and no town.
    "INSERT INTO people SELECT g, CASE WHEN g % 20 = 3 THEN NULL WHEN g % 10 < 9 THEN 7 ELSE g % 6 "
    "END, CASE WHEN g % 7 = 0 THEN NULL ELSE 'Town ' || g * 37 % 90 END, repeat('x', 80) "
    "FROM generate_series(1, 2000) g"
)
PEOPLE = (
    "CREATE TABLE people (id int PRIMARY KEY, province int, town text, note text)",
    FILL,
    "CREATE INDEX ON people (province, town)",
    "CREATE INDEX ON people (lower(town))",
    "ANALYZE people",
)
COLUMNS = "province int, town text, n bigint"
ROWS = "INSERT INTO {target} SELECT province, town, id FROM people"


def case(script: str, *setup: str) -> Case:
    return Case(script, COLUMNS, (*PEOPLE, *setup))


@pytest.mark.parametrize("by", ["province", "town, province", "province,ctid"])
def test_rows_are_divided_by_columns(dsn: str, by: str) -> None:
    outcome = split_both_ways(dsn, case(ROWS), by=by)
    assert outcome.last.rows == 2000
    assert outcome.last.chunks > 20  # the province of most people is no chunk


@pytest.mark.parametrize("by", ["lower(town)", "LOWER( people.town )"])
def test_rows_are_divided_by_the_expression_of_an_index(dsn: str, by: str) -> None:
    outcome = split_both_ways(dsn, case(ROWS), by=by)
    assert outcome.last.key == "lower(town)"


def test_an_index_serves_the_ranges_of_its_expression_and_of_two_columns(dsn: str) -> None:
    execute(dsn, *PEOPLE, f"CREATE TABLE {SPLIT} ({COLUMNS})")
    for by, index in [
        ("lower(town)", "people_lower_idx"),
        ("province,town", "people_province_town_idx"),
    ]:
        options = api.ExecOptions(split="always", by=by, chunk_rows=20)
        (found,) = api.plan(dsn, ROWS.format(target=SPLIT), options)
        assert found.example is not None
        plan = value(dsn, f"EXPLAIN (FORMAT JSON) {found.example.sql}")
        assert index in str(plan), by


JOINED = (
    "CREATE TABLE towns (province int, town text, size int)",
    "INSERT INTO towns SELECT DISTINCT province, town, 1 FROM people WHERE id % 3 > 0",
    "CREATE INDEX ON towns (province, town)",
)


@pytest.mark.parametrize("join", ["JOIN", "LEFT JOIN"])
@pytest.mark.parametrize("by", ["p.province,p.town", "p.province,ctid"])
def test_what_is_joined_by_all_parts_of_the_key_is_cut_too(dsn: str, join: str, by: str) -> None:
    script = (
        "INSERT INTO {target} SELECT p.province, t.town, p.id FROM people p "
        f"{join} towns t ON p.province = t.province AND t.town = p.town"
    )
    split_both_ways(dsn, case(script, *JOINED), by=by)


def test_groups_of_two_columns_are_divided_within_a_hot_value(dsn: str) -> None:
    script = "INSERT INTO {target} SELECT province, town, count(*) FROM people GROUP BY 1, 2"
    outcome = split_both_ways(dsn, case(script))
    assert outcome.last.key == "province,town"
    assert outcome.last.chunks > 20


def notes_of(outcome: Outcome) -> str:
    found = outcome.recorder.of(Message)
    return "; ".join(one.text for one in found if one.level == "warning")


def test_a_group_stays_whole_and_that_is_said(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfan.postgres.target.SMALL_COST", 0.0)
    script = "INSERT INTO {target} SELECT province, min(town), count(*) FROM people GROUP BY 1"
    outcome = split_both_ways(dsn, case(script), split="auto", by="province", jobs=4)
    assert "of the rows, which stay together in one chunk (hot-value)" in notes_of(outcome)


@pytest.mark.parametrize(
    ("script", "by", "code"),
    [
        (
            "INSERT INTO {target} SELECT province, '', count(*) FROM people GROUP BY 1",
            "town",
            "group-by",
        ),
        (
            "INSERT INTO {target} SELECT province, '', count(*) FROM people GROUP BY 1",
            "ctid",
            "group-by",
        ),
        (
            "INSERT INTO {target} SELECT province, '', count(*) FROM people GROUP BY 1",
            "lower(town)",
            "group-by",
        ),
        (
            "INSERT INTO {target} SELECT province, '', count(*) FROM people GROUP BY 1",
            "province,town",
            "group-by",
        ),
        (ROWS, "nowhere", "key-not-found"),
        (ROWS, "upper(town)", "key-not-found"),
        (ROWS, "series", "key-not-found"),
    ],
)
def test_a_key_that_is_not_sound_is_refused_with_the_reason(
    dsn: str, script: str, by: str, code: str
) -> None:
    outcome = both_ways(dsn, case(script), by=by)
    assert outcome.last.verdict != "split"
    assert code in [code for code, _ in outcome.last.reasons]


def test_a_column_without_an_index_is_allowed_and_its_cost_is_said(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfan.postgres.target.SMALL_COST", 0.0)
    script = "INSERT INTO {target} SELECT min(province), town, count(*) FROM people GROUP BY town"
    setup = ("DROP INDEX people_lower_idx",)
    outcome = split_both_ways(dsn, case(script, *setup), split="auto", by="town", chunk_rows=100)
    assert outcome.last.key == "town"
    assert "town has no index: by EXPLAIN the chunks cost" in notes_of(outcome)


def test_an_update_is_divided_within_a_hot_value(dsn: str) -> None:
    setup = tuple(
        part.replace("people", table) for table in ("by_one", "by_many") for part in PEOPLE
    )
    execute(dsn, *setup)
    script = "UPDATE {target} SET note = note || id WHERE province = 7 OR town IS NULL"
    execute_alone(dsn, script.replace("{target}", "by_one"))
    outcome = pgfan(dsn, script.replace("{target}", "by_many"), by="province")
    assert outcome.last.verdict == "split"
    assert outcome.last.key == "province,town"
    counted = "SELECT count(*) FROM (TABLE by_one EXCEPT ALL TABLE by_many) x"
    assert value(dsn, counted) == 0


# A column's type and values, as an expression over i from 0 to 299.
ODD: dict[str, tuple[str, str]] = {
    "one value": ("int", "7"),
    "all NULL": ("int", "NULL"),
    "ends of bigint": (
        "bigint",
        "CASE i % 5 WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775808 ELSE i END",
    ),
    "infinite dates": (
        "date",
        "CASE i % 5 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE date '1999-01-01' + i END",
    ),
    "infinite times": (
        "timestamptz",
        "CASE i % 3 WHEN 0 THEN 'infinity' ELSE timestamptz 'epoch' + i * interval '1 h' END",
    ),
    "NaN": ("float8", "CASE i % 3 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' ELSE i / 7.0 END"),
    "numeric NaN": ("numeric", "CASE i % 3 WHEN 0 THEN 'NaN' WHEN 1 THEN 1.00 ELSE 1.0 END"),
    "text": ("text", "CASE i % 4 WHEN 0 THEN '' WHEN 1 THEN 'it''s' ELSE chr(60 + i) END"),
    "long text": ("text", "repeat(chr(65 + i % 9), 700) || i"),
    "uuid": ("uuid", "md5((i % 40)::text)::uuid"),
}
STATISTICS: dict[str, Sequence[str]] = {
    "none": (),
    "fresh": ("ANALYZE odd",),
    "a thousand times too many": (
        "ANALYZE odd",
        (
            "UPDATE pg_class SET reltuples = reltuples * 1000, relpages = relpages * 1000 "
            "WHERE relname = 'odd'"
        ),
    ),
    "of a thousandth": (
        "ANALYZE odd",
        "UPDATE pg_class SET reltuples = 1, relpages = 1 WHERE relname = 'odd'",
        (
            "UPDATE pg_statistic SET stanullfrac = 0.999, stanumbers1 = '{1}' "
            "WHERE starelid = 'odd'::regclass"
        ),
    ),
}


@pytest.mark.parametrize("statistics", STATISTICS)
def test_odd_values_are_divided_whatever_statistics_say(dsn: str, statistics: str) -> None:
    for number, (name, (kind, expression)) in enumerate(ODD.items()):
        execute(
            dsn,
            "DROP TABLE IF EXISTS odd, by_one, by_many",
            f"CREATE TABLE odd (k {kind}, i int) WITH (autovacuum_enabled = off)",
            f"INSERT INTO odd SELECT CASE WHEN i % 11 > 0 THEN ({expression})::{kind} END, i "
            "FROM generate_series(0, 299) g(i)",
            "CREATE INDEX ON odd (k)",
            *STATISTICS[statistics],
        )
        grouped = number % 2
        script = (
            "INSERT INTO {target} SELECT k, count(*), sum(i) FROM odd GROUP BY k"
            if grouped
            else "INSERT INTO {target} SELECT k, i, 1 FROM odd"
        )
        by = None if grouped else ("k", "k,i", "k,ctid")[number // 2 % 3]
        outcome = both_ways(dsn, Case(script, f"k {kind}, i bigint, s bigint"), by=by)
        # numeric has several spellings of a value: which one a group shows is not specified.
        assert outcome.last.verdict == "split", name


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("by", ["k", "k,v", "k,ctid", "lower(v)"])
def test_tables_without_rows_or_with_one(dsn: str, rows: int, by: str) -> None:
    setup = (
        "CREATE TABLE few (k int, v text)",
        "CREATE INDEX ON few (lower(v))",
        f"INSERT INTO few SELECT g, 'v' FROM generate_series(1, {rows}) g",
    )
    script = "INSERT INTO {target} SELECT v, k FROM few"
    both_ways(dsn, Case(script, "v text, k int", setup, chunks_min=0, rows=rows), by=by)


def test_a_collation_that_is_not_deterministic_is_refused(dsn: str) -> None:
    if not value(dsn, "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'"):
        pytest.skip("such collations are ICU's, and this server is built without it")
    setup = (
        "CREATE COLLATION loose (provider = icu, locale = 'und-x-icu', deterministic = false)",
        "CREATE TABLE loosely (v text COLLATE loose)",
        "INSERT INTO loosely SELECT chr(65 + g % 26) FROM generate_series(1, 500) g",
        "CREATE INDEX ON loosely (v)",
        "CREATE INDEX ON loosely (lower(v))",
    )
    script = "INSERT INTO {target} SELECT v FROM loosely"
    for by, code in (("v", "key-collation"), ("lower(v)", "key-not-found")):
        execute(dsn, "DROP TABLE IF EXISTS loosely, by_one, by_many")
        execute(dsn, "DROP COLLATION IF EXISTS loose")
        outcome = both_ways(dsn, Case(script, "v text", setup), by=by)
        assert [found for found, _ in outcome.last.reasons] == [code]


@pytest.mark.parametrize("by", ["province,ctid", "lower(town)"])
def test_a_table_that_grows_while_it_is_read(dsn: str, by: str) -> None:
    """Its new rows lie in the ranges that are left, and the snapshot does not see them."""

    def grow(number: int) -> None:
        execute(
            dsn,
            f"INSERT INTO people SELECT {10_000 * number} + g, 7, 'Town ' || g, '' "
            "FROM generate_series(1, 50) g",
        )

    outcome = split_both_ways(dsn, case(ROWS), Recorder(at_chunk=grow), by=by)
    assert outcome.last.rows == 2000
    assert value(dsn, "SELECT count(*) FROM people") > 2000


def test_the_heaviest_ranges_are_done_first(dsn: str) -> None:
    setup = (
        "CREATE TABLE skewed (k int, v int)",
        (
            "INSERT INTO skewed SELECT CASE WHEN g % 2 = 0 THEN 900 ELSE g % 997 END, g "
            "FROM generate_series(1, 20000) g"
        ),
        "CREATE INDEX ON skewed (k)",
        "ANALYZE skewed",
    )
    script = "INSERT INTO {target} SELECT k, count(*) FROM skewed GROUP BY k"
    outcome = split_both_ways(dsn, Case(script, "k int, n bigint", setup), jobs=1, chunk_rows=500)
    started = [one.lo for one in outcome.recorder.of(ChunkStarted)]
    assert started == sorted(started)
    execute(dsn, "TRUNCATE by_many")
    (found,) = api.plan(
        dsn, script.replace("{target}", SPLIT), api.ExecOptions(split="always", by="k")
    )
    assert found.units > 50
