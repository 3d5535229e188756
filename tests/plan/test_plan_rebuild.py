"""What runs again and why, what is dropped, what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rebuild_model import BASE, Op, Project, fresh, name_of

from pgfan.plan.fingerprints import fingerprints_of
from pgfan.plan.rebuild import Built, Task, rebuild
from pgfan.sql.effects import ObjectName
from pgfan.sql.footprint import SESSION, Footprint


def script(text: str) -> list[Op]:
    """`verb x y 1; ...`: a number tells two versions of a task apart, and is its place."""
    ops = []
    for part in text.split(";"):
        words = part.split()
        mark = words.pop() if words[-1].isdecimal() else ""
        verb, name, source = (*words, "")[:3]
        ops.append(Op(verb, name, source, mark))
    return ops


BUILD = "make t; add t; add t base; view v t; fill r v; read r"

# What the script was and is; which tasks run, by number from 1; what is dropped, in order.
CASES = [
    ("nothing changed", "make t; add t", "make t; add t", "", ""),
    ("rows at the end", "make t; add t 1", "make t; add t 1; add t 2", "3", ""),
    ("rows among rows", "make t; add t 1", "make t; add t 2; add t 1", "2", ""),
    (
        "rows at the end have readers",
        "make t; add t 1; fill r t",
        "make t; add t 1; add t 2; fill r t",
        "3 4",
        "r",
    ),
    (
        "rows at the end, after their readers",
        "make t; fill r t x",
        "make t; fill r t x; add t 2",
        "3",
        "",
    ),
    ("an added row changed", "make t; add t 1; add t 2", "make t; add t 1; add t 3", "1 2 3", "t"),
    ("rows taken away", "make t; add t 1; add t 2", "make t; add t 2", "1 2", "t"),
    ("the end taken away", "make t 1; make u 2", "make t 1", "", "u"),
    (
        "the definition changed",
        "make t 1; add t 2; make u 3",
        "make t 4; add t 2; make u 3",
        "1 2",
        "t",
    ),
    ("a reader changed", "make t 1; fill r t 2", "make t 1; fill r t 3", "2", "r"),
    (
        "a reader of what changes later",
        "make t 1; fill r t 2; modify t 3",
        "make t 1; fill r t 4; modify t 3",
        "1 2 3",
        "r t",
    ),
    (
        "a reader of what grows later",
        "make t 1; fill r t 2; add t 3",
        "make t 1; fill r t 4; add t 3",
        "1 2 3",
        "r t",
    ),
    ("rows before a change", "make t 1; modify t 3", "make t 1; add t 2; modify t 3", "1 2 3", "t"),
    ("a change at the end", "make t 1; add t 2", "make t 1; add t 2; modify t 3", "3", ""),
    ("a view of what is made anew", "make t 1; view v t 2", "make t 3; view v t 2", "1 2", "v t"),
    ("a view of what grows", "make t 1; view v t 2", "make t 1; view v t 2; add t 3", "3", ""),
    (
        "what reads a view",
        "make t 1; view v t 2; fill r v 3",
        "make t 1; view v t 4; fill r v 3",
        "2 3",
        "r v",
    ),
    (
        "the order of what commutes",
        "make t 1; add t 2; add t 3",
        "make t 1; add t 3; add t 2",
        "",
        "",
    ),
    (
        "the order of what does not",
        "make t 1; add t 2; modify t 3",
        "make t 1; modify t 3; add t 2",
        "1 2 3",
        "t",
    ),
    (
        "equal tasks, one more",
        "make t 1; add t 2; add t 2",
        "make t 1; add t 2; add t 2; add t 2",
        "4",
        "",
    ),
    ("equal tasks, one less", "make t 1; add t 2; add t 2", "make t 1; add t 2", "1 2", "t"),
    (
        "what was dropped is needed again",
        "make t 1; fill r t 2; drop t 3",
        "make t 1; fill r t 4; drop t 3",
        "1 2 3",
        "r t",
    ),
    (
        "what was dropped stays",
        "make t 1; fill r t 2; drop t 3",
        "make t 1; fill r t 2",
        "1 2",
        "r t",
    ),
    (
        "a temporary table is made again",
        "make t 1; fill temp t 2; fill r temp 3",
        "make t 1; fill temp t 2; fill r temp 4",
        "2 3",
        "r",
    ),
    (
        "and is left alone",
        "fill temp base 1; fill r temp 2",
        "fill temp base 1; fill r temp 2",
        "",
        "",
    ),
    (
        "another temporary table",
        "make t 1; fill temp t 2; fill r temp 3",
        "make t 1; fill temp t 9; fill r temp 3",
        "2 3",
        "r",
    ),
    ("rows of a table of others", "add base 1", "add base 1; add base 2", "2", ""),
    ("a query", "make t 1; read t 2", "make t 1; read t 3", "2", ""),
    ("a preamble is put in front of what is built", "make t", "clear t; make t", "", ""),
    ("a preamble is changed", "clear t 1; make t", "clear t 2; make t", "", ""),
    ("a preamble is taken out", "clear t; make t; fill r t", "make t; fill r t", "", ""),
    (
        "what follows a preamble is changed",
        "clear t 1; make t 2; clear u 3; make u 4",
        "clear t 1; make t 5; clear u 3; make u 4",
        "1 2",
        "t",
    ),
    ("a preamble's object is called otherwise", "clear t; make t", "clear u; make u", "1 2", "t"),
    ("a preamble of what nobody makes is changed", "clear t 1", "clear t 2", "1", ""),
    ("a preamble of what nobody makes is taken out", "clear t 1; make u", "make u", "", ""),
    (
        "a DROP further down is no preamble",
        "make t 1; fill r t; clear t 2; make t 3",
        "make t 1; fill r t; clear t 4; make t 3",
        "1 2 3 4",
        "t r",
    ),
    (
        "a DROP at the end is taken out",
        "clear t 1; make t; clear t 2",
        "clear t 1; make t",
        "1 2",
        "t",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_what_runs_and_what_is_dropped(case: tuple[str, str, str, str, str]) -> None:
    _, before, after, runs, dropped = case
    project = Project()
    project.run(script(before))
    found = project.run(script(after))
    assert found.refusals == ()
    numbers = [str(n) for n, decision in enumerate(found.decisions, 1) if decision.runs]
    assert " ".join(numbers) == runs
    assert sorted(name.name for name in found.dropped) == sorted(dropped.split())
    if dropped:
        assert [name.name for name in found.dropped] == dropped.split()
    assert project.database.shape() == fresh(script(after)).shape()


REASONS = [
    ("make t 1", "make t 1; make u 2", ["unchanged", "never built"]),
    ("make t 1", "drop base 1", ["text changed"]),
    (
        "make t 1; fill r t 2; fill q r 3",
        "make t 1; add t 4; fill r t 2; fill q r 3",
        [
            "unchanged",
            "never built",
            "reads t, which 4 changes",
            "reads r, which 2 changes",
        ],
    ),
    (
        "make t 1; add t 2; add t 3",
        "make t 1; add t 2",
        ["writes t, which is rebuilt"] * 2,
    ),
]


@pytest.mark.parametrize(("before", "after", "reasons"), REASONS)
def test_every_decision_has_its_reason(before: str, after: str, reasons: list[str]) -> None:
    project = Project()
    project.run(script(before))
    found = project.run(script(after))
    assert [one.reason for one in found.decisions] == reasons


def test_full_drops_what_was_made_and_runs_everything() -> None:
    project = Project()
    ops = script(BUILD)
    project.run(ops)
    found = project.run(ops, full=True)
    assert {one.reason for one in found.decisions} == {"--full"}
    assert [name.name for name in found.dropped] == ["r", "v", "t"]
    assert project.database.shape() == fresh(ops).shape()
    again = project.run(ops)
    assert not any(one.runs for one in again.decisions)


def test_what_the_project_did_not_make_is_never_dropped() -> None:
    project = Project()
    project.run(script("add base 1; make t 2"))
    before = project.database.shape()
    for changed in (
        "add base 3; make t 2",
        "make t #2",
        "modify base 4; add base 1; make t 2",
    ):
        found = project.run(script(changed))
        assert [text for text in found.refusals if "s.base" in text], changed
        assert ObjectName("relation", "s", BASE) not in found.dropped
        assert project.database.shape() == before


def test_an_object_that_somebody_else_has_made_meanwhile_is_not_dropped() -> None:
    task = Op("make", "t").task
    project = Project()
    project.run([Op("make", "t")])
    found = rebuild([replace(task, text="other")], project.built, foreign=[name_of("t")])
    assert "made by somebody else" in found.refusals[0]


OTHERS = [
    # The script was and is, who has made t meanwhile, and what runs.
    ("clear t; make t; make u 1", "clear t; make t; make u 2", "1 2 3"),
    ("make t 1; make u", "clear t; make t 1; make u", "1 2"),
    ("make u", "clear t; make u", "1"),
    ("make u", "clear t; make u; make t", "1 3"),
]


@pytest.mark.parametrize(("before", "after", "runs"), OTHERS)
def test_what_somebody_else_has_made_is_dropped_by_the_scripts_own_words_alone(
    before: str, after: str, runs: str
) -> None:
    project = Project()
    project.run(script(before))
    project.replace_by_others("t")
    found = project.run(script(after))
    assert found.refusals == ()
    numbers = [str(n) for n, decision in enumerate(found.decisions, 1) if decision.runs]
    assert " ".join(numbers) == runs
    assert project.database.shape() == fresh(script(after)).shape()


def test_rows_that_were_added_to_somebody_elses_table_go_with_the_drop_in_front_of_it() -> None:
    project = Project()
    project.replace_by_others("t")
    project.run(script("add t 1"))
    assert project.run(script("add t 2")).refusals
    found = project.run(script("clear t; make t; add t 2"))
    assert (found.refusals, found.dropped) == ((), ())
    assert project.database.shape() == fresh(script("make t; add t 2")).shape()


def test_one_preamble_for_many_does_not_drop_those_that_stay() -> None:
    both = frozenset({name_of("t"), name_of("u")})
    clear = Task("clear", "1", Footprint(clears=both))
    t, u = Op("make", "t").task, Op("make", "u").task
    built = built_of(clear, t, u)
    found = rebuild([clear, replace(t, text="x"), u], built)
    assert [one.runs for one in found.decisions] == [False, True, False]
    found = rebuild([clear, t, u], built, foreign=[name_of("t")], missing=[name_of("t")])
    assert [one.runs for one in found.decisions] == [True, True, True]
    assert found.refusals == ()
    found = rebuild([clear, t, u], built, full=True)
    assert [one.reason for one in found.decisions] == ["--full"] * 3


def test_of_a_function_there_may_be_another_one_of_somebody_elses() -> None:
    own = frozenset({ObjectName("function", "s", "f")})
    clear = Task("clear", "1", Footprint(clears=own))
    make = Task("make", "2", Footprint(alters=own, makes=own))
    built = built_of(clear, make)
    assert not any(one.runs for one in rebuild([make], built).decisions)
    found = rebuild([replace(clear, text="x"), make], built)
    assert [one.runs for one in found.decisions] == [True, True]
    found = rebuild([clear, replace(make, text="x")], built, foreign=own)
    assert "made by somebody else" in found.refusals[0]
    view = Task("view", "3", Footprint(uses=own))
    found = rebuild([clear, view], built_of(view))  # CASCADE would take it
    assert [one.runs for one in found.decisions] == [True, True]


def test_what_is_gone_is_made_again_with_its_readers() -> None:
    ops = script("make t 1; add t 2; fill r t 3; make u 4")
    project = Project()
    project.run(ops)
    found = rebuild([op.task for op in ops], project.built, missing=[name_of("t")])
    assert [one.runs for one in found.decisions] == [True, True, True, False]
    assert found.decisions[0].reason == "writes t, which is rebuilt"


def test_files_count_by_their_content() -> None:
    own = frozenset({name_of("t")})
    make = Task("make", "a.sql:1", Footprint(alters=own, makes=own))
    load = Task("copy", "a.sql:2", Footprint(adds=own), files="one")
    first = fingerprints_of([make, load])
    built = [
        Built(fingerprint, task.text, task.place, task.footprint, task.files)
        for fingerprint, task in zip(first, (make, load), strict=True)
    ]
    found = rebuild([make, replace(load, files="two")], built)
    assert [one.reason for one in found.decisions] == ["writes t, which is rebuilt", "file changed"]
    assert found.dropped == (name_of("t"),)


def test_an_index_is_made_again_without_its_table() -> None:
    table, index = frozenset({name_of("t")}), frozenset({name_of("i")})
    make = Task("make", "1", Footprint(alters=table, makes=table))
    build = Task("index", "2", Footprint(alters=index, makes=index, indexes=table))
    read = Task("read", "3", Footprint(reads=table))
    add = Task("add", "4", Footprint(adds=table))
    before = [make, build, read]
    built = [
        Built(fingerprint, task.text, task.place, task.footprint)
        for fingerprint, task in zip(fingerprints_of(before), before, strict=True)
    ]
    found = rebuild([make, replace(build, text="other"), read, add], built)
    assert [one.runs for one in found.decisions] == [False, True, False, True]
    assert found.dropped == (name_of("i"),)
    later = rebuild([make, build, replace(add, text="more"), read], built)
    assert [one.runs for one in later.decisions] == [False, False, True, True]


def built_of(*tasks: Task) -> list[Built]:
    return [
        Built(fingerprint, task.text, task.place, task.footprint)
        for fingerprint, task in zip(fingerprints_of(tasks), tasks, strict=True)
    ]


def test_what_nobody_can_see_is_not_taken_back() -> None:
    own = frozenset({name_of("t")})
    make = Task("make", "a.sql:1", Footprint(alters=own, makes=own))
    opaque = Task("do", "a.sql:2", Footprint(barrier=True, opaque="dynamic-sql"))
    built = built_of(make, opaque)
    assert rebuild([make, opaque], built).refusals == ()
    grown = rebuild([make, opaque, Op("make", "u").task], built)
    assert (grown.refusals, [one.runs for one in grown.decisions]) == ((), [False, False, True])
    for changed in (
        [replace(make, text="other"), opaque],
        [make],
        [make, replace(opaque, text="x")],
    ):
        assert "dynamic-sql" in rebuild(changed, built).refusals[0]
    assert rebuild([make, opaque], built, full=True).refusals


def test_upkeep_runs_whenever_others_do() -> None:
    vacuum = Task("vacuum", "a.sql:2", Footprint(upkeep=True))
    make = Op("make", "t").task
    built = built_of(make, vacuum)
    assert not any(one.runs for one in rebuild([make, vacuum], built).decisions)
    found = rebuild([make, vacuum, Op("make", "u").task], built)
    assert [one.runs for one in found.decisions] == [False, True, True]
    assert found.decisions[1].reason == "others run"
    assert rebuild([replace(make, text="other"), vacuum], built).refusals == ()


def test_what_only_the_session_has_runs_again_for_whoever_needs_it() -> None:
    session = frozenset({ObjectName("relation", SESSION, "prepared")})
    prepare = Task("prepare", "1", Footprint(modifies=session))
    own = frozenset({name_of("t")})
    fill = Task("execute", "2", Footprint(alters=own, makes=own, modifies=session))
    other = Op("make", "u").task
    built = built_of(prepare, fill, other)
    assert not any(one.runs for one in rebuild([prepare, fill, other], built).decisions)
    found = rebuild([prepare, replace(fill, text="x"), other], built)
    assert [one.runs for one in found.decisions] == [True, True, False]


def test_a_name_without_its_schema_may_be_any() -> None:
    vague = frozenset({ObjectName("relation", None, "t")})
    make = Op("make", "t").task
    read = Task("read", "2", Footprint(reads=vague))
    built = built_of(make, read)
    found = rebuild([replace(make, text="other"), read], built)
    assert [one.runs for one in found.decisions] == [True, True]
