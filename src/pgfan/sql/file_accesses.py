"""What each file of a set touches, when what all of them make is known.

The files have no order yet, so the definitions of all of them are gathered first, and then each is
read as if it came last. Only what files say of each other counts: of the database nothing is
known but a schema `public`, so the answer is the same wherever the files are run.
"""

from __future__ import annotations

from copy import copy
from itertools import islice
from typing import TYPE_CHECKING

from pgfan.sql.accesses import GENERATES, ScriptAccesses, client_files
from pgfan.sql.known import KnownObjects
from pgfan.sql.statements import DEFINES_NOTHING
from pgfan.sql.tree import inner, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfan.sql.effects import Accesses, ObjectName, Stated
    from pgfan.sql.script import ScriptItem
    from pgfan.sql.tree import Message

ROUNDS = 2
"""Definitions are read so often: what one of them names may be made in a file further on."""
_UNMAKE = frozenset({"DropStmt", "RenameStmt", "AlterObjectSchemaStmt"})


def accesses_of_files(
    files: Sequence[Sequence[ScriptItem]], stated: Iterable[Stated]
) -> list[list[Accesses]]:
    """For each file the accesses of its items; `stated` are those of all items of all files."""
    stated = iter(stated)
    known = KnownObjects(schemas=frozenset({"public", *_schemas(files)}), search_path=("public",))
    together = ScriptAccesses(known, of_set=True)
    made: list[set[ObjectName]] = []
    for _ in range(ROUNDS):
        made = [_gather(together, items) for items in files]
    return [
        _touched(
            together,
            items,
            _redone(ScriptAccesses(known), items, makes),
            islice(stated, len(items)),
        )
        for items, makes in zip(files, made, strict=True)
    ]


def _another(together: ScriptAccesses, *, apart: bool) -> ScriptAccesses:
    session = copy(together)
    session.start_again(apart=apart)
    return session


def _gather(together: ScriptAccesses, items: Sequence[ScriptItem]) -> set[ObjectName]:
    """Have `together` know what a file makes; what that is. What it drops, others may make."""
    session = _another(together, apart=False)
    made = set()
    for item in items:
        trees = [tree for tree in _trees(item) if kind_of(tree) != "DropStmt"]
        if any(map(_defines, trees)):
            effects = session.read(trees, rolls_back=item.rolls_back).effects
            made |= {effect.object for effect in effects if effect.kind == "define"}
    return made


def _redone(
    session: ScriptAccesses, items: Sequence[ScriptItem], made: set[ObjectName]
) -> frozenset[int]:
    """The ids of DROP statements that only make room for what the file makes itself.

    CASCADE makes room, too: who uses the object comes after it, and is made again.
    """
    found = set()
    for tree in (tree for item in items for tree in _trees(item)):
        kind = kind_of(tree)
        if kind == "VariableSetStmt":
            session.read([tree])
        elif kind == "DropStmt":
            effects = session.read([tree]).effects
            if {effect.object for effect in effects if effect.kind == "drop"} <= made:
                found.add(id(tree))
    return frozenset(found)


def _touched(
    together: ScriptAccesses,
    items: Sequence[ScriptItem],
    passed_over: frozenset[int],
    stated: Iterable[Stated],
) -> list[Accesses]:
    """The accesses of a file's items. What it drops or renames, the other files still know."""
    of_items = [[tree for tree in _trees(one) if id(tree) not in passed_over] for one in items]
    apart = any(kind_of(tree) in _UNMAKE for trees in of_items for tree in trees)
    session = _another(together, apart=apart)
    found = []
    for item, trees, said in zip(items, of_items, stated, strict=True):
        read = session.read(
            trees, rolls_back=item.rolls_back, stated=said, makes_inside=item.makes_inside
        ) | client_files(item)
        found.append(read | GENERATES if item.first.generates is not None else read)
    return found


def _trees(item: ScriptItem) -> list[Message]:
    return [statement.tree for statement in item.statements]


def _defines(tree: Message) -> bool:
    """Whether it makes something, or decides where what follows is made."""
    kind = kind_of(tree)
    return (
        kind not in DEFINES_NOTHING
        or kind == "VariableSetStmt"
        or (kind == "SelectStmt" and tree.HasField("into_clause"))
    )


def _schemas(files: Sequence[Sequence[ScriptItem]]) -> Iterator[str]:
    """Schemas that files make, or that they have on their search_path: there will be such."""
    for items in files:
        for item in items:
            for tree in _trees(item):
                if kind_of(tree) == "CreateSchemaStmt":
                    yield tree.schemaname or tree.authrole.rolename
                elif kind_of(tree) == "VariableSetStmt" and tree.name.lower() == "search_path":
                    for value in map(inner, tree.args):
                        yield value.sval.sval
