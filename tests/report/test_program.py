"""How the tasks of a script are shown: at a glance, however many there are."""

from __future__ import annotations

from msgspec.structs import replace

from pgfan.plan.preview import DrivingKey, Estimate, NotYet, ProgramPlan, StatementPlan
from pgfan.report.plans import PlanLook
from pgfan.report.program import ALIKE_MIN, BARRIERS_MAX, program_text, shape_text
from pgfan.report.wrap import cells_of

MADE = StatementPlan(
    "1",
    "a.sql:1",
    "create",
    "CREATE TABLE t (i int)",
    "serial",
    (("not-insert-select", "statements of this kind are not split"),),
)
FILLED = StatementPlan(
    "2",
    "a.sql:2",
    "insert",
    "INSERT INTO t SELECT i FROM source",
    "split",
    by=DrivingKey("source", "source", "ctid"),
    units=45,
    unit="blocks",
    after=("1",),
    estimate=Estimate(10_000.0, 1.0),
)
READ = StatementPlan(
    "3",
    "a.sql:3",
    "select",
    "SELECT * FROM t",
    "serial",
    (("relation-unknown", "nobody knows t"), ("relation-unknown", "nobody knows u")),
    after=("2",),
    not_yet=(NotYet("t", "a.sql:1"), NotYet("u", "a.sql:2")),
)


def plan_of(*tasks: StatementPlan, **gates: tuple[str, ...]) -> ProgramPlan:
    named = {name.replace("_", " "): after for name, after in gates.items()}
    return ProgramPlan(tasks, named, 3, 2)


def shown(*tasks: StatementPlan, **gates: tuple[str, ...]) -> str:
    return program_text(plan_of(*tasks, **gates), PlanLook(80))


def test_number_place_statement_verdict_rows_and_what_it_waits_for() -> None:
    assert shown(MADE, FILLED, READ) == (
        "1  a.sql:1  CREATE TABLE t (i int)\n"
        "   one connection (not-insert-select)\n"
        "2  a.sql:2  INSERT INTO t SELECT i FROM source\n"
        "   split by blocks of source, 45 blocks; about 10,000 rows; after 1\n"
        "3  a.sql:3  SELECT * FROM t\n"
        "   judged when it runs: what it reads is made first: t, u; after 2\n"
        "\n"
    )


def test_many_alike_are_one_entry() -> None:
    many = [
        replace(FILLED, id=str(n), source=f"a.sql:{n}", estimate=Estimate(2.0, 1.0))
        for n in range(2, 1002)
    ]
    text = shown(MADE, *many)
    assert text.count("\n") == 5
    assert "2  a.sql:2  1,000 alike: INSERT INTO t SELECT i FROM source" in text
    assert "about 2,000 rows; after 1\n" in text
    few = shown(MADE, *many[: ALIKE_MIN - 1])
    assert "alike" not in few


def test_what_is_not_alike_is_not_put_together() -> None:
    for other in (
        replace(FILLED, after=("9",)),
        replace(FILLED, source="b.sql:2"),
        replace(FILLED, verdict="native", by=None),
        replace(FILLED, barrier=("outside", "x")),
    ):
        assert "alike" not in shown(*[FILLED, other] * ALIKE_MIN)


def test_ranges_of_what_it_waits_for_with_gates_opened() -> None:
    gate = tuple(map(str, range(3, 100)))
    text = shown(replace(READ, after=("1", "gate 1")), gate_1=gate)
    assert text.endswith("; after 1, 3-99\n\n")
    odd = tuple(map(str, range(1, 100, 2)))
    assert "and others, 50 in all" in " ".join(shown(replace(READ, after=odd)).split())


def test_the_shape_and_its_barriers() -> None:
    barrier = replace(MADE, barrier=("dynamic-sql", "EXECUTE of a text"))
    text = shape_text(plan_of(barrier, FILLED), PlanLook(200))
    assert text == (
        "3 one after the other at the most; up to 2 at once\n"
        "barrier: a.sql:1 waits for all before it, and all after it wait for it: EXECUTE of a text "
        "(dynamic-sql)\n"
    )
    many = shape_text(plan_of(*[barrier] * (BARRIERS_MAX + 2)), PlanLook(80))
    assert many.endswith("and 2 barriers more: --json\n")
    assert shape_text(plan_of(MADE), PlanLook(80)) == ""


def test_lines_fit_and_names_move_no_cursor() -> None:
    hostile = "a\x1b]0;title\x07\u202eb postgresql://u:secret@h/d"
    task = replace(READ, source=f"{hostile}:1", title=hostile * 5, barrier=("x", hostile))
    for width in (40, 80, 200):
        plan = plan_of(task, FILLED)
        text = program_text(plan, PlanLook(width)) + shape_text(plan, PlanLook(width))
        assert "secret" not in text
        assert all(line.isprintable() for line in text.split("\n"))
    for line in shown(FILLED, MADE).splitlines():
        assert cells_of(line) <= 80
