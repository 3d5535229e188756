"""After any edits, however often a client is killed, a rebuild leaves what a fresh build does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild_model import BASE, Op, Project, fresh, valid

NAMES = ["a", "b", "c", "temp"]
OPS = st.one_of(
    st.builds(Op, st.sampled_from(["make", "modify", "alter", "drop", "read"]),
              st.sampled_from(NAMES), st.just(""), st.sampled_from("1234")),
    st.builds(Op, st.sampled_from(["fill", "view", "add", "add"]),
              st.sampled_from(NAMES), st.sampled_from([*NAMES, BASE]), st.sampled_from("1234")),
    st.builds(Op, st.just("add"), st.sampled_from(NAMES), st.just(""), st.sampled_from("1234")),
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "change", "move"]), st.integers(0, 20), OPS),
    max_size=3,
)


def edited(ops: list[Op], edits: list[tuple[str, int, Op]]) -> list[Op]:
    found = list(ops)
    for kind, at, op in edits:
        place = at % (len(found) + 1)
        if kind == "insert" or place == len(found):
            found.insert(place, op)
        elif kind == "delete":
            del found[place]
        elif kind == "change":
            found[place] = op
        else:
            found.insert(at * 7 % len(found), found.pop(place))
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(OPS, min_size=3, max_size=14),
    st.lists(st.tuples(EDITS, st.one_of(st.none(), st.integers(0, 6))), min_size=1, max_size=4),
)
def test_after_any_edits_and_kills_it_is_as_a_fresh_build(
    first: list[Op], sequence: list[tuple[list[tuple[str, int, Op]], int | None]]
) -> None:
    project = Project()
    wanted = first
    ops = valid(wanted)
    project.run(ops)
    for edits, killed_at in sequence:
        wanted = edited(wanted, edits)
        ops = valid(wanted)
        found = project.run(ops, killed_at=killed_at)
        assert found.refusals == ()
    project.run(ops)
    assert project.database.shape() == fresh(ops).shape()
    assert not any(one.runs for one in project.run(ops).decisions)
