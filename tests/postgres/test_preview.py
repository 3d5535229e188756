"""EXPLAIN's estimates, and what is known of statements whose relations are made by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import api
from pgfan.errors import DatabaseError
from pgfan.postgres.explain import explain
from pgfan.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def session(dsn: str) -> Iterator[PostgresSession]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE a (i int, j int); INSERT INTO a SELECT g, g % 10 FROM "
            "generate_series(1, 1000) g; CREATE TABLE p (i int) PARTITION BY HASH (i);"
            "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "INSERT INTO p SELECT i FROM a; ANALYZE a, p, p0, p1"
        )
    opened = PostgresSession(dsn)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM a", 1000),
        ("INSERT INTO p SELECT i FROM a", 1000),
        ("DELETE FROM p", 1000),
        ("UPDATE p SET i = i", 1000),
        ("UPDATE a SET j = 1 WHERE i = (SELECT max(i) FROM p)", 1),
        ("WITH w AS (DELETE FROM p RETURNING i) INSERT INTO a SELECT 1, 2", 1),
        ("CREATE TABLE made AS SELECT j FROM a GROUP BY j", 10),
        ("SELECT i INTO made FROM a", 1000),
        ("MERGE INTO a USING p ON p.i = a.i WHEN MATCHED THEN DELETE", 1000),
    ],
)
def test_rows_that_a_statement_writes_or_returns(
    session: PostgresSession, sql: str, rows: float
) -> None:
    found = explain(session, sql)
    assert (found.rows, found.cost > 0) == (rows, True)


def test_an_error_has_its_place_in_the_statement(session: PostgresSession) -> None:
    sql = "SELECT i FROM a WHERE nope"
    with pytest.raises(DatabaseError) as caught:
        explain(session, sql)
    assert caught.value.statement_offset == sql.index("nope")
    assert explain(session, "SELECT 1").rows == 1


MAKERS = [
    "CREATE TABLE x (i int)",
    "CREATE TEMP TABLE x AS SELECT 1 AS i",
    "SELECT 1 AS i INTO x",
    "CREATE VIEW x AS SELECT 1 AS i",
    "CREATE MATERIALIZED VIEW x AS SELECT 1 AS i",
    "ALTER TABLE a RENAME TO x",
    "BEGIN; CREATE TABLE x (i int); COMMIT",
]


@pytest.mark.parametrize("maker", MAKERS)
def test_a_relation_that_an_earlier_statement_makes(session: PostgresSession, maker: str) -> None:
    dsn = session.connection.info.dsn
    *_, last = api.plan(dsn, f"{maker};\nINSERT INTO p SELECT i FROM x")
    assert [(one.relation, one.made_by) for one in last.not_yet] == [("x", "-c:1")]
    assert (last.verdict, last.error) == ("serial", None)


@pytest.mark.parametrize(
    "other",
    [
        "BEGIN; CREATE TABLE x (i int); ROLLBACK",
        "CREATE TABLE s.x (i int); SELECT 1 FROM t.x",
        "CREATE TABLE y (i int)",
    ],
)
def test_a_relation_that_none_makes(session: PostgresSession, other: str) -> None:
    dsn = session.connection.info.dsn
    *_, last = api.plan(dsn, f"{other}; SELECT * FROM {'t.' if 't.x' in other else ''}x")
    assert last.not_yet == ()
    assert last.error is not None


def test_examples_come_from_the_middle(session: PostgresSession) -> None:
    dsn = session.connection.info.dsn
    sql = "INSERT INTO p SELECT g FROM generate_series(1, 1000) g"
    options = api.ExecOptions(split="always")
    (found,) = api.plan(dsn, sql, options)
    assert found.example is not None
    assert (found.example.lo, found.example.hi) == (490, 510)
    assert "'491'" in found.example.sql
    assert "'510'" in found.example.sql


def test_an_empty_series_has_no_example(session: PostgresSession) -> None:
    dsn = session.connection.info.dsn
    options = api.ExecOptions(split="always")
    (found,) = api.plan(dsn, "INSERT INTO p SELECT g FROM generate_series(1, 0) g", options)
    assert (found.verdict, found.units, found.example) == ("split", 0, None)


GROUPED = "GROUP BY looks at all rows of a group: it does not group by the split key"


@pytest.fixture
def keyed(session: PostgresSession) -> str:
    session.execute(
        "CREATE TABLE big (k int PRIMARY KEY, few int, bare int);"
        "INSERT INTO big SELECT g, 1, g FROM generate_series(1, 3000) g; CREATE INDEX ON big (few);"
        "CREATE INDEX ON a (i); ANALYZE big"
    )
    return session.connection.info.dsn


@pytest.mark.parametrize(
    ("sql", "by", "rejected"),
    [
        (
            "INSERT INTO p SELECT b.k FROM a x, big b, generate_series(1, 3) g WHERE x.i = b.k",
            "big ctid",
            {
                "a ctid": "about 1,000 rows to divide; big has 3,000",
                "generate_series series": "about 3 rows to divide; big has 3,000",
            },
        ),
        (
            "INSERT INTO p SELECT b.k FROM a JOIN big b ON a.i = b.k GROUP BY b.k",
            "big k",
            {
                "a ctid": GROUPED,
                "big ctid": GROUPED,
                "a i": "about 1,000 rows to divide; big has 3,000",
            },
        ),
        (
            "UPDATE big SET few = 3",
            "big k",
            {
                "big few": "the statement changes few",
                "big bare": "bare has no index, k has one",
            },
        ),
        (
            "DELETE FROM big WHERE bare IN (SELECT i FROM a)",
            "big ctid",
            {},
        ),
        (
            "INSERT INTO p SELECT few FROM big GROUP BY few",
            "big few",
            {"big ctid": GROUPED},
        ),
        (
            "INSERT INTO p SELECT 1 FROM generate_series(1, NULL::int)",
            None,
            {"generate_series series": "the series has no bounds that can be cut"},
        ),
        (
            "INSERT INTO p SELECT count(*) FROM a",
            None,
            {"a ctid": "count() without GROUP BY looks at all rows"},
        ),
    ],
)
def test_rejected_keys_and_why(
    keyed: str, sql: str, by: str | None, rejected: dict[str, str]
) -> None:
    (found,) = api.plan(keyed, sql, api.ExecOptions(split="always"))
    assert (f"{found.by.relation} {found.by.key}" if found.by else None) == by
    assert {
        f"{one.by.relation} {one.by.key}": "; ".join(text for _, text in one.reasons)
        for one in found.rejected
    } == rejected


def test_a_column_without_an_index_is_rejected_unless_asked_for(
    keyed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfan.postgres.target.SMALL_COST", 0.0)
    sql = "UPDATE a SET i = 3"
    (found,) = api.plan(keyed, sql)
    codes = {one.by.key: [code for code, _ in one.reasons] for one in found.rejected}
    assert codes == {"i": ["key-assigned"], "j": ["key-not-indexed"]}
    (asked,) = api.plan(keyed, sql, api.ExecOptions(split="always"))
    assert asked.key == "j"


def test_a_key_that_would_cost_too_much_is_rejected(
    keyed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfan.postgres.target.SMALL_COST", 0.0)
    monkeypatch.setattr("pgfan.plan.keys.CHUNKS_COST_MAX", 0.0)
    (found,) = api.plan(keyed, "UPDATE big SET few = 3")
    assert [code for code, _ in found.reasons] == ["too-dear"]
    reasons = {one.by.key: one.reasons for one in found.rejected}
    assert reasons["k"] == found.reasons


def test_what_by_rules_out(keyed: str) -> None:
    sql = "INSERT INTO p SELECT g FROM big, generate_series(1, 3) g"
    (found,) = api.plan(keyed, sql, api.ExecOptions(split="always", by="series"))
    assert found.key == "series"
    assert [(one.by.key, one.reasons) for one in found.rejected] == [
        ("ctid", (("not-best", "--by series"),))
    ]
