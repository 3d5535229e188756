"""The index of a tree: the same nodes as a walk finds, where they stand, and walked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sql_catalogue import catalogue, tree_of

from pgfan.sql import index as index_module
from pgfan.sql import tree as tree_module
from pgfan.sql.distribute import Split, distribute
from pgfan.sql.index import TreeIndex
from pgfan.sql.levels import placed_nodes
from pgfan.sql.tree import kind_of, message_fields, walk

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pgfan.sql.tree import Message

NESTED = (
    "INSERT INTO t (id, x) SELECT lower(b.x), (SELECT max(c.x) FROM c WHERE c.y = b.y) FROM b "
    "WHERE abs(b.n) > 1 ORDER BY floor(b.y) ON CONFLICT (id) DO UPDATE SET x = upper(excluded.x)"
)


def _calls(path: list[Message], index: TreeIndex) -> list[tuple[str, str]]:
    found = placed_nodes(index, path, frozenset({"FuncCall"}))
    return [(each.node.funcname[0].string.sval, each.place) for each in found]


def test_it_has_the_nodes_of_the_tree() -> None:
    tree = tree_of(NESTED)
    index = TreeIndex(tree)
    nodes = [node for node in walk(tree) if kind_of(node) != "String"]
    select = tree.select_stmt.select_stmt
    below = [node for node in walk(select) if kind_of(node) != "String"]
    assert sorted(map(id, index.nodes)) == sorted(map(id, nodes[1:]))
    assert [id(node) for node in index.below(select)] == list(map(id, below))
    assert index.of("FuncCall", select) == [n for n in walk(select) if kind_of(n) == "FuncCall"]


def test_calls_stand_where_the_path_says_from_right_to_left() -> None:
    tree = tree_of(NESTED)
    select = tree.select_stmt.select_stmt
    assert _calls([select], TreeIndex(tree)) == [
        ("floor", "sort"),
        ("abs", "where"),
        ("max", "below"),
        ("lower", "target"),
        ("upper", "conflict"),
    ]


def test_the_arm_off_the_path_is_left_out() -> None:
    tree = tree_of("INSERT INTO t SELECT abs(x) FROM b UNION ALL SELECT floor(x) FROM c")
    union = tree.select_stmt.select_stmt
    index = TreeIndex(tree)
    assert _calls([union, union.rarg], index) == [("floor", "target")]
    assert _calls([union.larg], index) == [("abs", "target")]
    assert _calls([union], index) == []


@pytest.mark.parametrize(
    ("sql", "trees"),
    [
        ("INSERT INTO t SELECT x, count(*) FROM b JOIN c USING (x) GROUP BY x", 1),
        ("CREATE TABLE n AS SELECT * FROM (SELECT x, y FROM b) q JOIN c ON c.x = q.x", 1),
        ("UPDATE t SET x = b.x FROM b WHERE b.y = t.y", 2),  # itself, and as an INSERT
    ],
)
def test_a_statement_is_walked_once(sql: str, trees: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of(sql)
    visits, size = 0, len(list(walk(tree)))

    def counting(kind: Hashable) -> object:
        nonlocal visits
        visits += 1
        return message_fields(kind)

    monkeypatch.setattr(index_module, "message_fields", counting)
    monkeypatch.setattr(tree_module, "message_fields", counting)
    assert isinstance(distribute(tree, catalogue()), Split)
    # A few small parts are looked at again, such as the target list for its windows.
    assert visits <= (trees + 0.5) * size
