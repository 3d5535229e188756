"""What every statement of a script touches, in program order.

`ScriptAccesses` reads one statement or block after another. It keeps what the script itself has
made so far (`pgfan.sql.definitions`), starting from what is known of the database, so that reading
a view reads its tables and writing a table calls its triggers' functions.

A node type that nobody thought of is a barrier, never ignored. docs/order.md has the rules in
plain words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.effects import Accesses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.known import KnownObjects
    from pgfan.sql.tree import Message


class ScriptAccesses:
    """The accesses of one session's statements: psql would have run them on one connection.

    After an opaque task (`Accesses.is_opaque`) definitions may be others. Until `refresh` every
    further task is a barrier of code "not-refreshed": sound, and serial.
    """

    def __init__(self, known: KnownObjects, *, calls_currval: bool = False) -> None:
        """`calls_currval`: the script may call currval() or lastval() somewhere
        (`mentions_currval`), so that those who draw from sequences share a connection."""
        raise NotImplementedError

    def read(self, statements: Sequence[Message], *, rolls_back: bool = False) -> Accesses:
        """The accesses of the next task: a statement's tree, or all those of a transaction block.

        `rolls_back`: the block ends in ROLLBACK, so that its definitions are gone after it.
        """
        raise NotImplementedError

    def refresh(self, known: KnownObjects) -> None:
        """Go on with what exists now: everything before has finished, nothing after has begun.

        search_path and temporary objects of the session are kept.
        """
        raise NotImplementedError


def mentions_currval(text: str) -> bool:
    """Whether SQL text has the words currval or lastval anywhere."""
    lower = text.lower()
    return "currval" in lower or "lastval" in lower
