"""What `pgfan plan --project` prints."""

from __future__ import annotations

from pgfan.plan.preview import ProjectPlan
from pgfan.plan.rebuild import Decision
from pgfan.report.plans import PlanLook
from pgfan.report.project import project_text, project_to_json
from pgfan.sql.program import Program, Source

ITEMS = Program.read_psql(
    [Source("a.sql", "CREATE TABLE a (i int);\n" + "INSERT INTO a VALUES (1);\n" * 5)], {}, str
).items
PLAN = ProjectPlan(
    (
        Decision(runs=True, reason="writes a, which is rebuilt"),
        Decision(runs=True, reason="text changed"),
        *[Decision(runs=False, reason="unchanged")] * 4,
    ),
    drops=("DROP TABLE public.a",),
)

TEXT = """\
      1  a.sql:1  CREATE TABLE a (i int)
         runs: writes a, which is rebuilt
      2  a.sql:2  INSERT INTO a VALUES (1)
         runs: text changed
    3-6  a.sql:3  4 tasks: INSERT INTO a VALUES (1)
         skipped: unchanged

dropped first:
  DROP TABLE public.a
2 of 6 tasks would run, 4 are as built
"""


def test_tasks_of_which_the_same_is_said_are_one_entry() -> None:
    assert project_text(ITEMS, PLAN, PlanLook()) == TEXT


def test_refusals_come_last_and_leave_nothing_to_run() -> None:
    refused = ProjectPlan(PLAN.decisions, refusals=("public.a is gone", "nobody \x1b[31m made b"))
    lines = project_text(ITEMS, refused, PlanLook()).splitlines()[-3:]
    assert lines[0] == "refused: public.a is gone"
    assert "\x1b" not in lines[1]
    assert lines[2] == "nothing runs: what was built cannot be taken back"


def test_a_run_that_is_gone_on_with_is_named() -> None:
    plan = ProjectPlan(PLAN.decisions, unfinished="2026-1")
    assert project_text(ITEMS, plan, PlanLook()).endswith("; goes on with run 2026-1\n")


def test_json_has_every_task() -> None:
    found = project_to_json(ITEMS, PLAN)
    assert found["tasks"][5] == {
        "id": "6",
        "source": "a.sql:6",
        "kind": "insert",
        "state": "skipped",
        "why": "unchanged",
    }
    assert (found["ok"], found["drops"], found["refusals"]) == (True, ["DROP TABLE public.a"], [])
    assert len(found["tasks"]) == len(ITEMS)
