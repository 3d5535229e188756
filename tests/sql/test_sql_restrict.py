"""The SQL of a chunk that is a range of a column, and of one below subqueries; exact texts."""

from __future__ import annotations

import pytest
from sql_catalogue import catalogue, split_of

from pgfan.sql.rewrite import SeriesSpec, restrict_blocks, restrict_column, restrict_series

NOW = "2024-02-29 12:00:00.5+00"
BLOCKS = (
    "{0}.ctid OPERATOR(pg_catalog.>=) [0]::pg_catalog.tid"
    " AND {0}.ctid OPERATOR(pg_catalog.<) [1]::pg_catalog.tid"
)

# A statement split on its first column; what a chunk runs, with [n] for the n-th condition; and
# the columns that the conditions are about.
COLUMNS = [
    (
        "INSERT INTO t SELECT x, max(y) FROM b GROUP BY x",
        "INSERT INTO t SELECT x, max(y) FROM b WHERE [0] GROUP BY x",
        ['"b"."x"'],
    ),
    (
        "INSERT INTO t SELECT x, max(y) FROM b WHERE y > 1 OR n > 1 GROUP BY x",
        "INSERT INTO t SELECT x, max(y) FROM b WHERE (y > 1 OR n > 1) AND [0] GROUP BY x",
        ['"b"."x"'],
    ),
    (
        "INSERT INTO t SELECT z.p, max(y) FROM b z (p) GROUP BY z.p",
        "INSERT INTO t SELECT z.p, max(y) FROM b z(p) WHERE [0] GROUP BY z.p",
        ['"z"."p"'],
    ),
    # The range goes along the equi-joins, and nowhere else.
    (
        "INSERT INTO t SELECT b.x FROM b JOIN c ON b.x = c.x GROUP BY b.x",
        "INSERT INTO t SELECT b.x FROM b JOIN c ON b.x = c.x WHERE [0] AND [1] GROUP BY b.x",
        ['"b"."x"', '"c"."x"'],
    ),
    (
        "INSERT INTO t SELECT b.x FROM b, c k, d WHERE b.x = k.x AND k.x = d.z GROUP BY b.x",
        (
            "INSERT INTO t SELECT b.x FROM b, c k, d WHERE b.x = k.x AND k.x = d.z"
            " AND [0] AND [1] AND [2] GROUP BY b.x"
        ),
        ['"b"."x"', '"k"."x"', '"d"."z"'],
    ),
    (
        "INSERT INTO t SELECT p.x FROM b p, b q WHERE p.x = q.x GROUP BY p.x",
        "INSERT INTO t SELECT p.x FROM b p, b q WHERE p.x = q.x AND [0] AND [1] GROUP BY p.x",
        ['"p"."x"', '"q"."x"'],
    ),
    (
        "INSERT INTO t SELECT b.x FROM b LEFT JOIN c ON b.x = c.x GROUP BY b.x",
        "INSERT INTO t SELECT b.x FROM b LEFT JOIN c ON b.x = c.x AND [0] WHERE [1] GROUP BY b.x",
        ['"c"."x"', '"b"."x"'],
    ),
    # Where the driving relation stands.
    (
        "INSERT INTO t SELECT s.x FROM (SELECT x FROM b GROUP BY x) s WHERE s.x > 3",
        "INSERT INTO t SELECT s.x FROM (SELECT x FROM b WHERE [0] GROUP BY x) s WHERE s.x > 3",
        ['"b"."x"'],
    ),
    (
        "WITH s AS (SELECT x FROM b) INSERT INTO t SELECT x FROM s GROUP BY x",
        "INSERT INTO t SELECT x FROM (SELECT x FROM b WHERE [0]) s GROUP BY x",
        ['"b"."x"'],
    ),
    (
        "UPDATE t SET x = 1 WHERE y = 'a'",
        "UPDATE t SET x = 1 WHERE y = 'a' AND [0]",
        ['"t"."id"'],
    ),
    (
        "UPDATE t SET x = b.x FROM b WHERE b.y = t.y",
        "UPDATE t SET x = b.x FROM b WHERE b.y = t.y AND [0]",
        ['"t"."id"'],
    ),
    (
        "WITH s AS (SELECT x FROM b) UPDATE t AS k SET y = 'a' FROM s WHERE s.x = k.x",
        "UPDATE t k SET y = 'a' FROM (SELECT x FROM b) s WHERE s.x = k.x AND [0]",
        ['"k"."id"'],
    ),
    ("DELETE FROM part", "DELETE FROM part WHERE [0]", ['"part"."x"']),
]


@pytest.mark.parametrize(("sql", "chunk", "columns"), COLUMNS, ids=[case[0] for case in COLUMNS])
def test_a_column_is_restricted_with_all_that_equal_it(
    sql: str, chunk: str, columns: list[str]
) -> None:
    split = split_of(sql)
    candidate = next(one for one in split.candidates if one.key == "column")
    template = restrict_column(split, candidate, catalogue(), NOW)
    assert holes(template.pieces) == chunk
    assert [column for (column,) in template.columns] == columns


# A statement split on its last candidate.
PATHS = [
    ("DELETE FROM t", f"DELETE FROM t WHERE {BLOCKS.format('t')}"),
    (
        "DELETE FROM t z USING b WHERE z.x = b.x OR z.y = 'a'",
        f"DELETE FROM t z USING b WHERE (z.x = b.x OR z.y = 'a') AND {BLOCKS.format('z')}",
    ),
    (
        "INSERT INTO t SELECT s.x FROM c, (SELECT x FROM d, (SELECT x, y FROM b) r WHERE y > 1) s",
        (
            "INSERT INTO t SELECT s.x FROM c, (SELECT x FROM d, (SELECT x, y FROM b"
            f" WHERE {BLOCKS.format('b')}) r WHERE y > 1) s"
        ),
    ),
]


@pytest.mark.parametrize(("sql", "chunk"), PATHS, ids=[case[0] for case in PATHS])
def test_blocks_are_restricted_where_the_relation_stands(sql: str, chunk: str) -> None:
    split = split_of(sql)
    template = restrict_blocks(split, split.candidates[-1], catalogue(), NOW)
    assert holes(template.pieces) == chunk
    assert not template.columns


def test_a_series_is_cut_where_it_stands() -> None:
    sql = (
        "INSERT INTO t SELECT s.g FROM c, (SELECT h, g FROM generate_series(1, 2) h, "
        "(SELECT k AS g FROM generate_series(1, 9) k) r) s"
    )
    split = split_of(sql)
    spec = SeriesSpec("pg_catalog.int4", "'1'::pg_catalog.int4")
    template = restrict_series(split, split.candidates[-1], spec, catalogue(), NOW)
    assert holes(template.pieces) == (
        "INSERT INTO t SELECT s.g FROM c, (SELECT h, g FROM generate_series(1, 2) h, "
        "(SELECT k AS g FROM generate_series([0]::int, [1]::int, '1'::int) k) r) s"
    )


def holes(pieces: tuple[str, ...]) -> str:
    """The pieces of a template with [0], [1], ... between them."""
    text = pieces[0]
    for index, piece in enumerate(pieces[1:]):
        text += f"[{index}]{piece}"
    return text
