"""Which branches of a UNION ALL are split, which run once, and when it is not taken apart."""

from __future__ import annotations

import time

import pytest
from sql_catalogue import catalogue, in_words, split_of, verdict_of

from pgfan.sql.branches import BRANCHES_MAX
from pgfan.sql.distribute import Serial

UNION = "(SELECT x FROM b UNION ALL SELECT x FROM c)"
LIMITED = "(SELECT x FROM b UNION ALL (SELECT x FROM c LIMIT 1))"
# What follows "INSERT INTO t ", and "(branch | branch)" of the union, or the reasons.
WRITES = "! cte relation-unknown unknown-construct"
CASES = [
    # At the top: every branch on its own.
    ("SELECT x FROM b UNION ALL SELECT x FROM c", "(ctid b | ctid c)"),
    ("TABLE b UNION ALL TABLE c", "(ctid b | ctid c)"),
    ("SELECT x FROM b UNION ALL SELECT n FROM b", "(ctid b | ctid b)"),
    ("SELECT 1 UNION ALL SELECT 2.5", "(once no-driving-relation | once no-driving-relation)"),
    ("SELECT x FROM b UNION ALL VALUES (1), (NULL)", "(ctid b | once no-driving-relation)"),
    (
        (
            "VALUES (1) UNION ALL SELECT generate_series(1, 9) UNION ALL SELECT g FROM "
            "generate_series(1, 9) g"
        ),
        "(once no-driving-relation | series | series g)",
    ),
    (
        "SELECT x FROM b UNION ALL (SELECT x FROM c UNION ALL SELECT z FROM d)",
        "(ctid b | ctid c | ctid d)",
    ),
    ("((SELECT x FROM b)) UNION ALL ((SELECT x FROM c))", "(ctid b | ctid c)"),
    ("SELECT b.x FROM b JOIN c USING (x) UNION ALL SELECT z FROM d", "(ctid b, ctid c | ctid d)"),
    ("SELECT s.x FROM (SELECT x FROM b) s UNION ALL SELECT z FROM d", "(ctid b | ctid d)"),
    # A branch that cannot be cut runs once.
    ("SELECT count(*) FROM b UNION ALL SELECT x FROM c", "(once aggregate | ctid c)"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c GROUP BY x", "(ctid b | column x c)"),
    ("SELECT x FROM b UNION ALL SELECT x + 1 FROM c GROUP BY 1", "(ctid b | once group-by)"),
    ("SELECT x FROM b UNION ALL SELECT DISTINCT ON (y) x FROM c", "(ctid b | column y c)"),
    ("SELECT x FROM b UNION ALL SELECT DISTINCT ON (y || '') x FROM c", "(ctid b | once distinct)"),
    ("SELECT x FROM b UNION ALL (SELECT x FROM c LIMIT 5)", "(ctid b | once limit)"),
    ("(SELECT x FROM b ORDER BY x LIMIT 5) UNION ALL SELECT x FROM c", "(once limit | ctid c)"),
    (
        "SELECT x FROM b UNION ALL SELECT s.x FROM (SELECT x FROM c LIMIT 5) s, d",
        "(ctid b | once limit)",
    ),
    (
        "SELECT x FROM b UNION ALL SELECT x FROM c TABLESAMPLE SYSTEM (9)",
        "(ctid b | once tablesample)",
    ),
    ("SELECT x FROM b UNION ALL SELECT row_number() OVER () FROM c", "(ctid b | once window)"),
    (
        "SELECT x FROM b UNION ALL SELECT c.x FROM c FULL JOIN d ON c.x = d.z",
        "(ctid b | once no-driving-relation)",
    ),
    (
        "SELECT x FROM b UNION ALL (SELECT x FROM c UNION SELECT z FROM d)",
        "(ctid b | once set-operation)",
    ),
    (
        "SELECT x FROM b EXCEPT SELECT x FROM c UNION ALL SELECT z FROM d",
        "(once set-operation | ctid d)",
    ),
    (
        "SELECT x FROM b UNION ALL (SELECT x FROM c UNION ALL SELECT z FROM d LIMIT 3)",
        "(ctid b | once limit set-operation)",
    ),
    (
        "SELECT x FROM b UNION ALL (SELECT x FROM c UNION ALL SELECT z FROM d ORDER BY 1)",
        "(ctid b | ctid c | ctid d)",
    ),
    ("SELECT x FROM b UNION ALL SELECT (ARRAY(SELECT x FROM c))[1]", "(ctid b | once row-order)"),
    # Only a subquery of the branch itself counts, not those of the others.
    (
        "SELECT x FROM b WHERE x IN (SELECT random() FROM c) UNION ALL SELECT z FROM d",
        "(once volatile-subquery | ctid d)",
    ),
    ("SELECT x, random() FROM b UNION ALL SELECT random(), z FROM d", "(ctid b | ctid d)"),
    (
        "SELECT random() FROM (SELECT DISTINCT x + 1 FROM c) s UNION ALL SELECT z FROM d",
        "(once distinct | ctid d)",
    ),
    # What may not be taken apart.
    ("SELECT x FROM b UNION SELECT x FROM c", "! set-operation"),
    ("SELECT x FROM b EXCEPT ALL SELECT x FROM c", "! set-operation"),
    ("SELECT x FROM b INTERSECT ALL SELECT x FROM c", "! set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c UNION SELECT z FROM d", "! set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c EXCEPT SELECT z FROM d", "! set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c LIMIT 5", "! limit set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c OFFSET 0", "! limit set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c ORDER BY 1", "(ctid b | ctid c)"),
    ("SELECT x FROM b UNION ALL SELECT id FROM t", "! reads-target"),
    ("SELECT x FROM b UNION ALL SELECT x FROM v", "! view"),
    ("SELECT x FROM b UNION ALL SELECT total(x) FROM c", "! function-volatile"),
    ("SELECT x FROM b UNION ALL SELECT (SELECT total(x) FROM c LIMIT 1)", "! function-volatile"),
    ("SELECT x FROM b UNION ALL SELECT nope(x) FROM c", "! function-unknown"),
    ("SELECT x FROM b UNION ALL SELECT x @@@ 1 FROM c", "! operator-unknown"),
    ("SELECT x FROM b UNION ALL SELECT c.log_it FROM c", "! attribute-function"),
    ("SELECT x FROM b UNION ALL SELECT lastval()", "! function-volatile"),
    ("SELECT x FROM b UNION ALL (SELECT x FROM c FOR UPDATE)", "! locking"),
    ("SELECT x FROM b UNION ALL (WITH s AS (DELETE FROM c RETURNING x) TABLE s)", WRITES),
    ("SELECT x FROM b UNION ALL SELECT 'now'::timestamp", "! special-datetime"),
    ("SELECT x FROM b UNION ALL SELECT $1", "! parameter"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c ON CONFLICT DO NOTHING", "! set-operation"),
    ("SELECT x FROM b UNION ALL SELECT x FROM c RETURNING id", "! returning"),
    # In FROM: what stands above must be sound for rows of any branch.
    ("SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s", "(ctid b | ctid c)"),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s, d",
        "ctid d, (ctid b | ctid c)",
    ),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s LEFT JOIN d ON d.z = s.x",
        "(ctid b | ctid c)",
    ),
    (
        "SELECT s.x FROM d LEFT JOIN (SELECT x FROM b UNION ALL SELECT x FROM c) s ON d.z = s.x",
        "ctid d",
    ),
    ("SELECT s.x FROM (SELECT q.x FROM (TABLE b UNION ALL TABLE c) q) s", "(ctid b | ctid c)"),
    (
        "SELECT s.x FROM (SELECT count(*) AS x FROM b UNION ALL SELECT x FROM c) s",
        "(once aggregate | ctid c)",
    ),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL (SELECT x FROM c LIMIT 1)) s",
        "(ctid b | once limit)",
    ),
    # Read whole by every chunk, a LIMIT is not the same each time.
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL (SELECT x FROM c LIMIT 1)) s, d",
        "(ctid b | once limit)",
    ),
    (
        f"SELECT s.x FROM d LEFT JOIN {LIMITED} s ON true",
        "! limit",
    ),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT random()) s, d",
        "(ctid b | once no-driving-relation)",
    ),
    (
        f"SELECT s.x FROM {UNION} s, {UNION} r",
        "(ctid b | ctid c), (ctid b | ctid c)",
    ),
    (
        f"SELECT s.x FROM {LIMITED} s, {UNION} r",
        "(ctid b | once limit)",
    ),
    ("SELECT s.x FROM (SELECT x FROM b UNION SELECT x FROM c) s, d", "ctid d"),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s WHERE x < (SELECT random())",
        "! volatile-subquery",
    ),
    (
        "SELECT s.x, random() FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s",
        "(ctid b | ctid c)",
    ),
    ("SELECT x FROM b WHERE x IN (SELECT x FROM c UNION ALL SELECT z FROM d)", "ctid b"),
    # A group has rows of several branches.
    (
        "SELECT x, count(*) FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s GROUP BY x",
        "! set-operation",
    ),
    ("SELECT DISTINCT x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s", "! set-operation"),
    ("SELECT count(*) FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s", "! aggregate"),
    (
        f"SELECT s.x, row_number() OVER (PARTITION BY s.x) FROM {UNION} s",
        "! set-operation",
    ),
    (
        f"SELECT b.x FROM {UNION} s JOIN b USING (x) GROUP BY b.x",
        "column x b",
    ),
    (
        "SELECT x FROM (SELECT x FROM b GROUP BY x UNION ALL SELECT x FROM c) s GROUP BY x",
        "! set-operation",
    ),
    # WITH that is read once, and more than once.
    ("WITH s AS (SELECT x FROM b) SELECT x FROM s UNION ALL SELECT x FROM c", "(ctid b | ctid c)"),
    ("WITH s AS (SELECT x FROM b UNION ALL SELECT x FROM c) SELECT x FROM s", "(ctid b | ctid c)"),
    (
        "WITH s AS (SELECT x FROM b) SELECT x FROM s UNION ALL SELECT x FROM s",
        "(once cte | once cte)",
    ),
    (
        "WITH s AS (TABLE b) SELECT x FROM c WHERE x IN (TABLE s) UNION ALL SELECT z FROM d, s",
        "(ctid c | ctid d)",
    ),
    (
        "(WITH s AS (TABLE b) SELECT x FROM s) UNION ALL (WITH s AS (TABLE c) SELECT x FROM s)",
        "(ctid b | ctid c)",
    ),
    (
        (
            "WITH s AS (TABLE b LIMIT 3) SELECT x FROM c WHERE x IN (TABLE s) UNION ALL "
            "SELECT z FROM d, s"
        ),
        "! limit",
    ),
    (
        "WITH s AS (SELECT random()) SELECT x FROM c, s UNION ALL SELECT z FROM d, s",
        "! volatile-subquery",
    ),
]


@pytest.mark.parametrize(("select", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_union_all_is_taken_apart(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


def test_the_target_drives_what_changes_it_whatever_it_reads() -> None:
    union = "(SELECT x FROM b UNION ALL SELECT x FROM c) s"
    delete = verdict_of(f"DELETE FROM t USING {union} WHERE t.id = s.x")
    update = verdict_of(f"UPDATE t SET x = s.x FROM {union} WHERE t.id = s.x")
    assert in_words(delete) == "ctid t"
    assert in_words(update) == "column id t, column y t"


def test_order_by_above_all_branches_is_a_hazard() -> None:
    split = split_of("INSERT INTO t SELECT x FROM b UNION ALL SELECT x FROM c ORDER BY 1")
    assert split.hazards == ("not-atomic", "physical-order")


def test_a_branch_is_found_by_its_path_whatever_the_nesting() -> None:
    split = split_of(
        "INSERT INTO t SELECT * FROM d, (SELECT x FROM b UNION ALL "
        "(SELECT x FROM c UNION ALL SELECT z FROM d)) s"
    )
    assert [branch.path for branch in split.unions[0]] == [(1, -1), (1, -2, -1), (1, -2, -2)]


@pytest.mark.parametrize("joint", [" UNION ALL ", " UNION ALL SELECT 5 UNION ALL "])
def test_as_many_branches_as_allowed_and_one_more(joint: str) -> None:
    arms = ["SELECT x FROM b"] * (BRANCHES_MAX if "5" not in joint else BRANCHES_MAX // 2 + 1)
    most = joint.join(arms[: BRANCHES_MAX if "5" not in joint else BRANCHES_MAX // 2])
    over = joint.join([*arms, "SELECT x FROM c"])
    assert len(split_of(f"INSERT INTO t {most}").unions[0]) <= BRANCHES_MAX
    assert in_words(verdict_of(f"INSERT INTO t {over}")) == "! set-operation"


@pytest.mark.parametrize("nested", ["left", "balanced"])
def test_ten_thousand_branches_are_refused_at_once(nested: str) -> None:
    arms = [f"SELECT {at} FROM b" for at in range(8192)]
    if nested == "left":
        sql = " UNION ALL ".join(arms)
    else:
        while len(arms) > 1:
            arms = [f"({a} UNION ALL {b})" for a, b in zip(arms[::2], arms[1::2], strict=True)]
        sql = arms[0]
    began_s = time.process_time()
    verdict = verdict_of(f"INSERT INTO t {sql}")
    assert isinstance(verdict, Serial)
    assert {reason.code for reason in verdict.reasons} <= {"set-operation", "deparse"}
    assert time.process_time() - began_s < 20  # quadratic work would take minutes


def test_a_default_that_is_to_be_frozen_is_left_out_of_every_branch() -> None:
    columns = {"id": None, "x": None, "made": "now()"}
    split = split_of(
        "INSERT INTO t SELECT x, y FROM b UNION ALL VALUES (1, '2')", catalogue(t=columns)
    )
    assert [column.name for column in split.frozen_defaults] == ["made"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SELECT x, y FROM b UNION ALL SELECT x, y FROM c", "! default-function"),
        ("SELECT DISTINCT x, y FROM b", "! default-function"),
        ("SELECT x, y FROM b", "ctid b"),
        ("SELECT * FROM b UNION ALL SELECT 1, '2', now()", "(ctid b | once no-driving-relation)"),
    ],
)
def test_a_default_that_differs_from_row_to_row_is_not_put_where_rows_are_compared(
    select: str, expected: str
) -> None:
    columns = {"id": None, "x": None, "made": "now() + random() * interval '1 s'"}
    assert in_words(verdict_of(f"INSERT INTO t {select}", catalogue(t=columns))) == expected
