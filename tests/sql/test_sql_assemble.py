"""The SQL of a chunk of one branch of a UNION ALL: all other branches are empty."""

from __future__ import annotations

import pytest
from sql_catalogue import catalogue, split_of

from pgfan.sql.assemble import Assembly, assemble
from pgfan.sql.rewrite import restrict_blocks

FROZEN_AT = "2024-02-29 12:00:00+00"


def assembled(select: str) -> Assembly:
    split = split_of(f"INSERT INTO t {select}")
    return assemble(split, split.unions[0], catalogue(), FROZEN_AT)


# What follows "INSERT INTO t ", and each branch alone.
BRANCHES = [
    (
        "SELECT x FROM b UNION ALL SELECT x FROM c WHERE y = 'a'",
        [
            "(SELECT x FROM b) UNION ALL (SELECT x FROM c WHERE y = 'a' AND false LIMIT 0)",
            "(SELECT x FROM b WHERE false LIMIT 0) UNION ALL (SELECT x FROM c WHERE y = 'a')",
        ],
    ),
    (
        "SELECT count(*) FROM b UNION ALL VALUES (1)",
        [
            "(SELECT count(*) FROM b) UNION ALL (VALUES (1) LIMIT 0)",
            "(SELECT count(*) FROM b WHERE false LIMIT 0) UNION ALL (VALUES (1))",
        ],
    ),
    (
        "SELECT x FROM b UNION ALL (SELECT x FROM c EXCEPT SELECT z FROM d)",
        [
            (
                "(SELECT x FROM b) UNION ALL ((SELECT x FROM c WHERE false LIMIT 0) EXCEPT "
                "(SELECT z FROM d WHERE false LIMIT 0))"
            ),
            (
                "(SELECT x FROM b WHERE false LIMIT 0) UNION ALL "
                "(SELECT x FROM c EXCEPT SELECT z FROM d)"
            ),
        ],
    ),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL (SELECT x FROM c LIMIT 1)) s WHERE s.x > 1",
        [
            (
                "SELECT s.x FROM ((SELECT x FROM b) UNION ALL "
                "(SELECT x FROM c WHERE false LIMIT 0)) s WHERE s.x > 1"
            ),
            (
                "SELECT s.x FROM ((SELECT x FROM b WHERE false LIMIT 0) UNION ALL "
                "(SELECT x FROM c LIMIT 1)) s WHERE s.x > 1"
            ),
        ],
    ),
]


@pytest.mark.parametrize(("select", "expected"), BRANCHES, ids=[case[0] for case in BRANCHES])
def test_each_branch_runs_with_the_others_empty(select: str, expected: list[str]) -> None:
    assembly = assembled(select)
    found = [assembly.statement({number: None}).pieces for number in range(len(expected))]
    assert found == [(f"INSERT INTO t {text}",) for text in expected]


def test_a_range_of_a_branch_has_the_others_empty() -> None:
    assembly = assembled("SELECT x, now() FROM b UNION ALL SELECT z, NULL FROM d")
    alone = assembly.alone[1]
    template = restrict_blocks(alone, alone.candidates[0], catalogue(), FROZEN_AT)
    assert "…".join(assembly.statement({1: template}).pieces) == (
        f"INSERT INTO t (SELECT x, '{FROZEN_AT}'::timestamp with time zone AS now FROM b "
        "WHERE false LIMIT 0) UNION ALL (SELECT z, NULL FROM d "
        "WHERE d.ctid OPERATOR(pg_catalog.>=) …::pg_catalog.tid "
        "AND d.ctid OPERATOR(pg_catalog.<) …::pg_catalog.tid)"
    )


def test_branches_that_are_kept_together() -> None:
    assembly = assembled("SELECT 1 UNION ALL SELECT x FROM b UNION ALL SELECT 2")
    (text,) = assembly.statement({0: None, 2: None}).pieces
    assert text == (
        "INSERT INTO t ((SELECT 1) UNION ALL (SELECT x FROM b WHERE false LIMIT 0)) "
        "UNION ALL (SELECT 2)"
    )
