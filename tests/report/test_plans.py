from __future__ import annotations

import json
import re

import pytest

from pgfan.errors import DatabaseError, Position
from pgfan.plan.preview import (
    DrivingKey,
    Estimate,
    ExampleChunk,
    NotYet,
    PlanCounts,
    RejectedKey,
    StatementPlan,
)
from pgfan.report.plans import (
    CHUNK_LINES_MAX,
    REJECTED_MAX,
    PlanLook,
    plan_text,
    plans_to_json,
    summary_text,
)
from pgfan.report.wrap import cells_of

SPLIT = StatementPlan(
    "2",
    "build.sql:7",
    "insert",
    "INSERT INTO totals SELECT o.customer, count(*), sum(o.price) FROM orders o GROUP BY 1",
    "split",
    by=DrivingKey("orders", "o", "customer"),
    after=("1",),
    unit="ranges",
    units=1_000,
    rejected=(
        RejectedKey(
            DrivingKey("orders", "o", "ctid"),
            (("group-by", "rows of one group may lie in the blocks of several chunks"),),
        ),
        RejectedKey(DrivingKey("sales.customers", "customers", "id"), (("small", "fewer rows"),)),
    ),
    hazards=("not-atomic", "physical-order"),
    estimate=Estimate(99_996.4, 51_234.56),
    example=ExampleChunk(
        490,
        510,
        "INSERT INTO totals SELECT o.customer, count(*), sum(o.price) FROM orders o WHERE "
        '("o"."customer" OPERATOR(pg_catalog.>=) \'a  b\' AND "o"."customer" '
        "OPERATOR(pg_catalog.<) 'c') GROUP BY 1",
    ),
)
AT_80 = """\
build.sql:7  INSERT INTO totals SELECT o.customer, count(*), sum(o.price) FROM …
  split by orders.customer (as o), 1,000 ranges
  estimate  99,996 rows, cost 51,235
  rejected  blocks of orders (as o): rows of one group may lie in the blocks
              of several chunks (group-by)
            sales.customers.id: fewer rows (small)
  hazards   not-atomic, physical-order
  chunk     20 of 1,000 ranges, for example:
    INSERT INTO totals
    SELECT o.customer, count(*), sum(o.price)
    FROM orders o
    WHERE ("o"."customer" OPERATOR(pg_catalog.>=) 'a  b' AND "o"."customer"
        OPERATOR(pg_catalog.<) 'c')
    GROUP BY 1

"""
AT_120 = """\
build.sql:7  INSERT INTO totals SELECT o.customer, count(*), sum(o.price) FROM orders o GROUP BY 1
  split by orders.customer (as o), 1,000 ranges
  estimate  99,996 rows, cost 51,235
  rejected  blocks of orders (as o): rows of one group may lie in the blocks of several chunks (group-by)
            sales.customers.id: fewer rows (small)
  hazards   not-atomic, physical-order
  chunk     20 of 1,000 ranges, for example:
    INSERT INTO totals
    SELECT o.customer, count(*), sum(o.price)
    FROM orders o
    WHERE ("o"."customer" OPERATOR(pg_catalog.>=) 'a  b' AND "o"."customer" OPERATOR(pg_catalog.<) 'c')
    GROUP BY 1

"""  # noqa: E501  # that is how wide it is


def serial(**known: object) -> StatementPlan:
    plan = {"id": "1", "source": "-c:1", "kind": "insert", "title": "INSERT INTO t SELECT 1"}
    return StatementPlan(**{**plan, "verdict": "serial", **known})  # type: ignore[arg-type]


def refused(message: str = 'relation "x" does not exist') -> DatabaseError:
    error = DatabaseError(message, sqlstate="42P01")
    error.position = Position("-c", 1, 22)
    return error


@pytest.mark.parametrize(("width", "block"), [(80, AT_80), (120, AT_120)])
def test_the_whole_block(width: int, block: str) -> None:
    assert plan_text(SPLIT, PlanLook(width)) == block


def test_colour_adds_nothing_but_colour() -> None:
    painted = plan_text(SPLIT, PlanLook(80, color=True))
    assert "\x1b[1;32msplit by orders.customer (as o), 1,000 ranges\x1b[0m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == AT_80


@pytest.mark.parametrize(
    ("plan", "second_line"),
    [
        (
            serial(reasons=(("small", "EXPLAIN's cost is 12"),)),
            "one connection: EXPLAIN's cost is 12 (small)",
        ),
        (serial(), "one connection"),
        (
            serial(reasons=(("limit", "LIMIT"), ("aggregate", "count()"))),
            "one connection: LIMIT (limit)\n    count() (aggregate)",
        ),
        (
            serial(
                reasons=(("relation-unknown", "relation a is not in the catalogue"),),
                not_yet=(NotYet("a", "build.sql:1"),),
            ),
            (
                "one connection as of now: a is not there yet: build.sql:1 makes it, and exec\n"
                "    judges again then (relation-unknown)"
            ),
        ),
        (serial(error=refused()), 'PostgreSQL refuses it: relation "x" does not exist'),
        (
            serial(error=refused(), may_pass=True),
            (
                'PostgreSQL refuses it as of now: -c:1:22: relation "x" does not exist\n'
                "    (statements before it are not run)"
            ),
        ),
        (
            serial(verdict="native", reasons=(("aggregate", "count()"),), statements=("A", "B")),
            (
                "the server's own parallel plan: count() (aggregate)\n"
                "  runs      in one transaction:\n    A;\n    B;"
            ),
        ),
        (
            serial(
                verdict="split",
                by=DrivingKey("UNION ALL", "UNION ALL", "branches"),
                units=7,
                unit="units",
            ),
            "split by the branches of UNION ALL, 7 units",
        ),
        (
            serial(verdict="split", by=DrivingKey("s.orders", "orders", "ctid"), unit="blocks"),
            "split by blocks of s.orders, 1 block",
        ),
        (
            serial(
                verdict="split",
                by=DrivingKey("generate_series", "g", "series"),
                units=20_000_000,
            ),
            "split by generate_series, 20,000,000 rows",
        ),
    ],
)
def test_verdicts_in_words(plan: StatementPlan, second_line: str) -> None:
    expected = f"-c:1  INSERT INTO t SELECT 1\n  {second_line}\n\n"
    assert plan_text(plan, PlanLook(80)) == expected


def test_a_long_chunk_is_clipped_and_whole_on_demand() -> None:
    joins = " ".join(f"JOIN t{number} ON t{number}.i = a.i" for number in range(50))
    sql = f"INSERT INTO t SELECT a.i FROM a {joins} WHERE a.i OPERATOR(pg_catalog.>=) '1'"
    plan = serial(
        verdict="split", by=DrivingKey("a", "a", "i"), units=9, example=ExampleChunk(0, 1, sql)
    )
    clipped = plan_text(plan, PlanLook(80)).splitlines()
    assert len(clipped) == 4 + CHUNK_LINES_MAX + 1
    assert "    … 42 lines more: --sql" in clipped
    assert clipped[-2] == "    WHERE a.i OPERATOR(pg_catalog.>=) '1'"
    whole = plan_text(plan, PlanLook(80, chunk="whole"))
    assert " ".join(whole.split()).endswith(sql)
    assert "chunk" not in plan_text(plan, PlanLook(80, chunk="none"))


def test_many_rejected_keys_are_cut_short() -> None:
    rejected = tuple(
        RejectedKey(DrivingKey("a", "a", f"c{number}"), (("key-assigned", "assigned"),))
        for number in range(REJECTED_MAX + 3)
    )
    text = plan_text(serial(rejected=rejected), PlanLook(80))
    assert text.count("assigned (key-assigned)") == REJECTED_MAX
    assert "and 3 more: --json has all of them" in text


def test_reasons_of_the_statement_are_not_repeated_for_its_keys() -> None:
    reasons = (("aggregate", "sum() looks"), ("aggregate", "max() looks"))
    key = DrivingKey("a", "a", "ctid")
    plan = serial(reasons=reasons, rejected=(RejectedKey(key, (*reasons, ("limit", "too"))),))
    text = plan_text(plan, PlanLook(80))
    assert "  rejected  blocks of a: aggregate; too (limit)\n" in text
    assert text.count("sum() looks") == 1


HOSTILE = "a\x1b]0;title\x07\u202eb\r\n\x00 postgresql://u:secret@h/d"


def test_names_and_messages_move_no_cursor_and_tell_no_password() -> None:
    plan = serial(
        source=f"{HOSTILE}.sql:1",
        title=HOSTILE,
        verdict="split",
        by=DrivingKey(HOSTILE, HOSTILE, HOSTILE),
        rejected=(RejectedKey(DrivingKey(HOSTILE, "x", "ctid"), (("small", HOSTILE),)),),
        example=ExampleChunk(0, 1, f"SELECT '{HOSTILE}'"),
    )
    others = [
        serial(reasons=(("small", HOSTILE),), not_yet=(NotYet(HOSTILE, HOSTILE),)),
        serial(error=refused(HOSTILE)),
        serial(error=refused(HOSTILE), may_pass=True),
    ]
    text = "".join(plan_text(one, PlanLook(80)) for one in (plan, *others))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\x1b" in text
    assert "secret" not in text


@pytest.mark.parametrize("width", [1, 40, 80, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    for line in plan_text(SPLIT, PlanLook(width)).splitlines():
        assert cells_of(line) <= max(40, width), line


def test_a_long_path_leaves_the_statement_a_line_of_its_own() -> None:
    plan = serial(source="folder/" * 10 + "build.sql:1")
    first, second, *_ = plan_text(plan, PlanLook(80)).splitlines()
    assert first == plan.source
    assert second == "  INSERT INTO t SELECT 1"


def test_wide_characters_take_two_cells() -> None:
    lines = plan_text(serial(title="表" * 60), PlanLook(41)).splitlines()
    assert cells_of(lines[0]) == 41
    assert lines[0].endswith("表…")


def test_the_summary_counts() -> None:
    small = serial(reasons=(("small", "x"),))
    counts = PlanCounts(
        [
            SPLIT,
            small,
            small,
            serial(reasons=(("limit", "one"), ("limit", "two"))),
            serial(reasons=(("relation-unknown", "x"),), not_yet=(NotYet("a", "f:1"),)),
            serial(error=refused()),
        ]
    )
    assert summary_text(counts, PlanLook(80)) == (
        "6 statements: 1 split, 3 on one connection, 1 to be judged again, 1 with an\n"
        "  error\n"
        "  2 small\n  1 limit\n  1 relation-unknown\n"
        "not-atomic: others see finished chunks while the statement runs, and a failure\n"
        "  leaves them\n"
        "physical-order: rows are stored in another order than ORDER BY gave them\n"
    )


def test_one_statement_needs_no_summary_but_its_hazards() -> None:
    assert summary_text(PlanCounts([serial()]), PlanLook(80)) == ""
    assert summary_text(PlanCounts([SPLIT]), PlanLook(80)).startswith("not-atomic: ")


def test_json_has_everything() -> None:
    plans = [SPLIT, serial(error=refused(), not_yet=(NotYet("a", "f:1"),))]
    value = json.loads(json.dumps(plans_to_json(plans, PlanCounts(plans))))
    assert (value["schema"], value["verdicts"]) == (1, {"split": 1, "serial": 1})
    first, second = value["tasks"]
    assert first["state"] == "planned"
    assert (first["rows"], first["cost"], first["chunks"]) == (99_996, 51_234.56, None)
    assert (first["key"], first["driving"]) == ("customer", {"relation": "orders", "alias": "o"})
    assert (first["unit"], first["units"], first["after"]) == ("ranges", 1_000, ["1"])
    assert first["rejected"][1] == {
        "relation": "sales.customers",
        "alias": "customers",
        "key": "id",
        "reasons": [{"code": "small", "message": "fewer rows"}],
    }
    assert SPLIT.example is not None
    assert first["example"] == {"lo": 490, "hi": 510, "sql": SPLIT.example.sql}
    assert list(first) == list(second)
    assert (second["key"], second["driving"], second["units"]) == (None, None, None)
    assert second["error"] == 'relation "x" does not exist'
    assert second["not_yet"] == [{"relation": "a", "made_by": "f:1"}]
