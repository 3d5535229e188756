"""Which statements are over at once, whatever the tables are: one-row INSERTs and their like.

Such a statement is not worth a round trip of its own (`pgfan.plan.bundles`). What is light must be
known before anything runs, from the text and from what it touches, so this is an INSERT of VALUES
that reads nothing: no subquery, no WITH, no function of a user's, in a trigger or anywhere else.

psql makes a message and a transaction of each, and nothing may tell the difference. Some may share
a transaction: the values are constants, and the table has neither triggers nor foreign keys,
policies, or defaults for the columns that are left out. So there is no sequence to have gaps when
the transaction is rolled back, no constraint to be checked too late, and no code to look at the
rows before. A unique key that is violated is violated in either way.

Others share a message only. now() is the time at which the first message of a transaction came, so
what may ask for it shares nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from postgast import pg_query_pb2 as pb

from pgfan.sql.tree import inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.definitions import Code, Definitions, Relation
    from pgfan.sql.effects import Accesses
    from pgfan.sql.script import ScriptItem
    from pgfan.sql.tree import Message

CHARS_MAX = 8_192
"""A longer one has enough to do for a round trip of its own."""
FUNCTIONS = frozenset(
    {
        *("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday"),
        *("random", "gen_random_uuid", "uuidv4", "uuidv7", "nextval"),
        *("lower", "upper", "md5", "length", "concat", "to_date", "to_timestamp", "make_date"),
        *("jsonb_build_object", "json_build_object", "to_jsonb", "round", "abs"),
    }
)
"""PostgreSQL's own that may stand in a light statement: what they cost does not depend on data."""
_NODES = frozenset(
    {
        *("A_Const", "TypeCast", "TypeName", "FuncCall", "SQLValueFunction", "SetToDefault"),
        *("A_ArrayExpr", "A_Expr", "RowExpr", "List", "Integer", "Float", "Boolean", "String"),
        *("CoalesceExpr", "BitString"),
    }
)
_OF_THE_CLOCK = (
    *("now", "today", "tomorrow", "yesterday", "current_", "localtime", "timestamp", "timeofday"),
    "uuid",
)
"""Functions, and constants of date and time that are worked out when they are read ("Special
Values"); other words may hold them, too."""
_COMMENTED = frozenset(
    {
        *(pb.OBJECT_TABLE, pb.OBJECT_COLUMN, pb.OBJECT_VIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_SCHEMA),
        *(pb.OBJECT_INDEX, pb.OBJECT_TABCONSTRAINT, pb.OBJECT_TYPE),
    }
)
"""COMMENT ON DATABASE may have a warning."""
_NEXTVAL = re.compile(r"nextval\('(?:[^']|'')*'::regclass\)")
Shares: TypeAlias = Literal["transaction", "message", "nothing"]


class Unlogged:
    """The names of unlogged tables, whatever their schemas: a crash empties them.

    What writes one has its chunk in an unlogged journal, and is in no bundle.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are those of the database."""
        self._names = set(names)

    def add(self, names: Iterable[str]) -> None:
        """There may be more now."""
        self._names.update(names)

    def read(self, item: ScriptItem) -> None:
        """Take in what a task makes."""
        for statement in item.statements:
            self._names.update(self._made(statement.skeleton))

    def is_written(self, item: ScriptItem) -> bool:
        """Whether a statement that changes rows names one."""
        tree = item.first.skeleton
        return (
            bool(self._names)
            and kind_of(tree) in {"InsertStmt", "UpdateStmt", "DeleteStmt"}
            and tree.relation.relname in self._names
        )

    def _made(self, tree: Message) -> tuple[str, ...]:
        kind = kind_of(tree)
        if kind == "CreateStmt":
            return _if_unlogged(tree.relation)
        if kind == "CreateTableAsStmt":
            return _if_unlogged(tree.into.rel)
        if kind == "SelectStmt" and tree.HasField("into_clause"):
            return _if_unlogged(tree.into_clause.rel)
        if kind == "AlterTableStmt" and any(
            command.alter_table_cmd.subtype == pb.AT_SetUnLogged for command in tree.cmds
        ):
            return (tree.relation.relname,)
        if kind == "RenameStmt" and tree.relation.relname in self._names:
            return (tree.newname,)
        return ()


def _if_unlogged(relation: Message) -> tuple[str, ...]:
    return (relation.relname,) if relation.relpersistence == "u" else ()


def rows_of_light(item: ScriptItem, found: Accesses) -> int | None:
    """How many rows a light statement gives; None for one that is not light."""
    tree = item.first.skeleton
    if (
        kind_of(tree) != "InsertStmt"
        or not is_alone(item, found)
        or tree.HasField("with_clause")
        or tree.HasField("returning_clause")
    ):
        return None
    rows = tree.select_stmt.select_stmt.values_lists
    if not rows or tree.select_stmt.select_stmt.HasField("with_clause"):
        return None
    for row in rows:
        for value in row.list.items:
            if not is_constant(value) and not all(map(is_light, walk(value))):
                return None
    if tree.HasField("on_conflict_clause") and any(
        kind_of(node) == "SubLink" for node in walk(tree.on_conflict_clause)
    ):
        return None
    return len(rows)


def is_light_definition(item: ScriptItem, found: Accesses) -> bool:
    """Whether a statement makes something that is empty, or writes about it, and is over at once.

    It has no notices, which nobody could tell whose they are, and waits for no lock on a table that
    others write: no IF NOT EXISTS, OR REPLACE, foreign key, parent or partition.
    """
    tree = item.first.skeleton
    if not is_alone(item, found):
        return False
    match kind_of(tree):
        case "CreateStmt":
            return not (
                tree.if_not_exists
                or tree.inh_relations
                or tree.HasField("partbound")
                or any(map(_names_table, walk(tree)))
            )
        case "ViewStmt":
            return not tree.replace
        case "CreateSeqStmt":
            return not tree.if_not_exists and not tree.options
        case "CreateSchemaStmt":
            return not tree.if_not_exists and not tree.schema_elts
        case "CommentStmt":
            return tree.objtype in _COMMENTED
        case kind:
            return kind == "CreateEnumStmt"


def _names_table(node: Message) -> bool:
    kind = kind_of(node)
    if kind == "Constraint":
        return bool(node.contype == pb.CONSTR_FOREIGN)
    return kind == "TableLikeClause"


def is_alone(item: ScriptItem, found: Accesses) -> bool:
    """Whether an item is one short statement, on any connection, that runs no code of a user's."""
    return not (
        item.is_block
        or item.seeded
        or found.barrier is not None
        or found.session
        or item.first.generates
        or item.first.has_client
        or len(item.first.text) > CHARS_MAX
        or any(effect.object.kind == "function" for effect in found.effects)
    )


def unless_clock(shares: Shares, text: str) -> Shares:
    """What a light statement may share and nobody can tell: nothing, if it may ask for the time.

    `shares` is what it may share if it does not (`shared_without_clock`).
    """
    return "nothing" if mentions_clock(text) else shares


def mentions_clock(text: str) -> bool:
    """Whether a text may ask for the time."""
    lower = text.lower()
    return any(word in lower for word in _OF_THE_CLOCK)


def shared_without_clock(item: ScriptItem, found: Accesses, definitions: Definitions) -> Shares:
    """What a statement may share that does not mention the clock: all of its form may."""
    tree = item.first.skeleton
    relation = _target(found, definitions)
    if relation is None or relation.kind != "table" or relation.columns is None:
        return "nothing"
    rows = tree.select_stmt.select_stmt.values_lists
    given = {column.res_target.name for column in tree.cols}
    if not given:
        given = {column.name for column in relation.columns[: len(rows[0].list.items)]}
    values = [value for row in rows for value in row.list.items]
    if any(value.WhichOneof("node") == "set_to_default" for value in values):
        given = set()
    defaults = [
        code for column in relation.columns if column.name not in given for code in column.default
    ]
    if not all(map(_is_drawn, defaults)):
        return "nothing"
    if (
        defaults
        or len(found.effects) != 1
        or not relation.is_plain
        or relation.name in definitions.parents
        or tree.HasField("on_conflict_clause")
        or not all(map(is_constant, values))
    ):
        return "message"
    return "transaction"


def _target(found: Accesses, definitions: Definitions) -> Relation | None:
    """The table that gets the rows; None for a view, or one that nobody knows."""
    written = [
        definitions.relations.get(effect.object)
        for effect in found.effects
        if effect.kind in {"append", "modify"} and not effect.part
    ]
    targets = [one for one in written if one is None or one.kind != "sequence"]
    return targets[0] if len(targets) == 1 else None


def _is_drawn(default: Code) -> bool:
    """Whether a default takes the next value of a sequence, which has nothing to do with time."""
    if isinstance(default, str):
        return _NEXTVAL.fullmatch(default) is not None
    return bool(default.effects) and default.barrier is None


def is_constant(value: Message) -> bool:
    """Whether it is a literal, as it stands."""
    return bool(value.WhichOneof("node") == "a_const")


def is_light(node: Message) -> bool:
    """Whether a node of an expression costs next to nothing, whatever the tables hold."""
    node = inner(node)
    kind = kind_of(node)
    if kind == "FuncCall":
        name = names(node.funcname)
        return name[-1] in FUNCTIONS and (len(name) == 1 or name[-2] == "pg_catalog")
    return kind in _NODES
