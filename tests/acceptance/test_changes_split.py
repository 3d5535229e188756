"""UPDATE and DELETE over many connections, against one connection, row by row."""

from __future__ import annotations

import pytest
from side_by_side import Case, both_ways, execute, pgfan, query, reused_dsn

SETUP = (
    "CREATE TABLE o AS SELECT g AS i, g % 7 AS k, 'o' || g AS t FROM generate_series(1, 90) g",
)
FILL = (
    "INSERT INTO {target} SELECT g, CASE WHEN g % 5 > 0 THEN g % 40 END, 'row ' || g "
    "FROM generate_series(1, 900) g; "
)
dsn = reused_dsn

CHANGES = {
    "DELETE": "DELETE FROM {target} WHERE k % 3 = 0",
    "DELETE everything": "DELETE FROM {target}",
    "DELETE with an alias": "DELETE FROM {target} AS z WHERE z.k IS NULL",
    "DELETE USING": "DELETE FROM {target} z USING o WHERE o.i = z.i AND o.k = 3",
    "DELETE EXISTS": "DELETE FROM {target} z WHERE EXISTS (SELECT FROM o WHERE o.i = z.k)",
    "DELETE looking at itself": (
        "DELETE FROM {target} z WHERE z.i < (SELECT max(y.i) FROM {target} y WHERE y.k = z.k)"
    ),
    "UPDATE": "UPDATE {target} SET t = t || '!', k = k + 1 WHERE k % 3 = 0",
    "UPDATE of all rows": "UPDATE {target} SET k = k + 1",
    "UPDATE FROM": "UPDATE {target} AS z SET t = o.t FROM o WHERE o.i = z.i",
    "UPDATE by a subquery": (
        "UPDATE {target} AS z SET k = (SELECT count(*) FROM o WHERE o.k = z.k) WHERE z.k < 30"
    ),
    "UPDATE looking at itself": (
        "UPDATE {target} AS z SET k = (SELECT count(*) FROM {target} y WHERE y.k = z.k)"
    ),
    "UPDATE of an array of CASE": "UPDATE {target} SET t = CASE k WHEN 1 THEN 'one' ELSE t END",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_same_rows_are_changed(dsn: str, change: str) -> None:
    case = Case(FILL + change, "i int PRIMARY KEY, k int, t text", SETUP)
    outcome = both_ways(dsn, case, chunk_rows=50)
    assert outcome.last.verdict == "split", outcome.last.reasons
    assert outcome.last.chunks > 1
    assert outcome.tags[-1] == f"{change.split(maxsplit=1)[0]} {outcome.last.rows}"


def test_all_rows_get_one_time(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE t (i int PRIMARY KEY, at timestamptz)",
        "INSERT INTO t SELECT g FROM generate_series(1, 500) g",
    )
    outcome = pgfan(dsn, "UPDATE t SET at = now()", chunk_rows=20)
    assert outcome.last.verdict == "split"
    assert query(dsn, "SELECT count(*), count(DISTINCT at) FROM t") == [(500, 1)]


def test_rows_do_not_change_place_by_a_generated_column(dsn: str) -> None:
    case = Case(
        "INSERT INTO {target} SELECT g FROM generate_series(1, 900) g; "
        "UPDATE {target} SET i = i + 300",
        "i int, twice int GENERATED ALWAYS AS (i * 2) STORED",
    )
    outcome = both_ways(dsn, case, chunk_rows=50)
    assert "key-assigned" in dict(outcome.last.reasons)


REFUSED = {
    "the key of an index": ("UPDATE {target} SET i = -i", "assigned-unique"),
    "RETURNING": ("DELETE FROM {target} RETURNING i", "returning"),
}


@pytest.mark.parametrize(("change", "code"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_split(dsn: str, change: str, code: str) -> None:
    case = Case(FILL + change, "i int PRIMARY KEY, k int, t text", SETUP)
    outcome = both_ways(dsn, case, chunk_rows=50)
    assert code in dict(outcome.last.reasons)
