"""A statement made to write a copy of its target, for `pgfan verify`.

Only the tree is changed here: every place that names the target names the copy instead, under the
target's old name as an alias, so that `t.x` means what it meant. A WITH query of the same name is
another thing and stays. Sequences that the statement draws from are replaced by name. Which names
mean the target is the server's to say; it is asked in `pgfan.postgres.copies`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from pgfan.sql.access import CHANGING, relation_name
from pgfan.sql.creation import into_of, without_into
from pgfan.sql.render import RenderError
from pgfan.sql.tree import Message, add_copies, copy_of, fields, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgfan.sql.facts import Name

_OBJECT_TABLE = "OBJECT_TABLE"

Effect: TypeAlias = Literal["insert", "update", "delete", "merge", "create"]


class RetargetError(RenderError):
    """The statement cannot be made to write a copy and mean the same."""


class Written(Struct, frozen=True):
    """What a statement does to which table; `relation` is its RangeVar in the tree."""

    effect: Effect
    relation: Message


class Retarget(Struct, frozen=True):
    """What to replace: every name in `targets` is the table `full` (schema, name).

    `copy` is the schema and name of what takes its place. `sequences` maps the text that nextval
    is given to the text that it shall be given.
    """

    targets: frozenset[Name]
    full: tuple[str, str]
    copy: tuple[str, str]
    sequences: Mapping[str, str]


def written_by(tree: Message) -> Written | str:
    """The table that a statement writes rows to, or why there is none to compare."""
    if _changes_in_with(tree):
        return "WITH holds a statement that writes to a table of its own"
    match kind_of(tree):
        case "InsertStmt":
            return Written("insert", tree.relation)
        case "UpdateStmt":
            return Written("update", tree.relation)
        case "DeleteStmt":
            return Written("delete", tree.relation)
        case "MergeStmt":
            return Written("merge", tree.relation)
        case "CreateTableAsStmt" if kind_of(inner(tree.query)) != "SelectStmt":
            return "CREATE TABLE AS EXECUTE runs a statement that only its session knows"
        case "CreateTableAsStmt" | "SelectStmt":
            return _created(tree)
        case _:
            return "it writes no rows"


def occurrences(tree: Message) -> Iterator[Message]:
    """Every RangeVar that names a relation which is there already: no WITH query, no new table."""
    stack: list[tuple[Message, frozenset[str]]] = [(inner(tree), frozenset())]
    while stack:
        node, hidden = stack.pop()
        if kind_of(node) == "RangeVar":
            if node.schemaname or node.relname not in hidden:
                yield node
            continue
        if "with_clause" in node.DESCRIPTOR.fields_by_name and node.HasField("with_clause"):
            queries, hidden = _with_queries(node.with_clause, hidden)
            stack.extend(queries)
        for name, child in fields(node):
            if name == "relation" and kind_of(node) in CHANGING:
                yield inner(child)  # a target is never a WITH query
            elif name not in {"with_clause", "locked_rels", "into", "into_clause"}:
                stack.append((inner(child), hidden))


def retarget(tree: Message, change: Retarget) -> Message:
    """A copy of the statement that writes, and reads, `change.copy` in place of the target.

    Raises RetargetError where the copy cannot go by the target's name.
    """
    changed = copy_of(tree)
    into = into_of(changed)
    if into is not None:
        into.rel.catalogname = ""
        into.rel.schemaname, into.rel.relname = change.copy
    places = list(occurrences(changed))
    own = [node for node in places if relation_name(node) in change.targets]
    # An INSERT's target alone cannot be mixed up: its name is not seen by the SELECT.
    if into is None and (len(own) > 1 or kind_of(changed) != "InsertStmt"):
        _refuse_namesakes(places, change)
    for node in own:
        _replace(node, change.copy)
    if into is None:
        for node in walk(changed):
            if kind_of(node) == "ColumnRef":
                _shorten(node, change.full)
    replace_sequences(changed, change.sequences)
    return changed


def sequence_texts(tree: Message) -> Iterator[str]:
    """What each nextval in `tree` is given. Raises RetargetError when it is no constant."""
    for call in _nextvals(tree):
        constant = _constant(call)
        if constant is None:
            raise RetargetError("nextval() is given a sequence that is computed")
        yield str(constant.sval.sval)


def replace_sequences(tree: Message, sequences: Mapping[str, str]) -> None:
    """Give each nextval in `tree` another sequence, in place; those not in the mapping stay."""
    for call in _nextvals(tree):
        constant = _constant(call)
        if constant is not None:
            constant.sval.sval = sequences.get(constant.sval.sval, constant.sval.sval)


def query_of(tree: Message) -> Message | None:
    """The SELECT whose rows are inserted or make the new table; None for other statements."""
    match kind_of(tree):
        case "InsertStmt" if tree.HasField("select_stmt"):
            return _with_queries_of(tree, copy_of(inner(tree.select_stmt)))
        case "CreateTableAsStmt":
            return inner(tree.query)
        case "SelectStmt":
            return without_into(tree)
        case _:
            return None


def _with_queries_of(insert: Message, query: Message) -> Message:
    """WITH ... INSERT ... SELECT: the queries belong to the SELECT as well."""
    if insert.HasField("with_clause"):
        own = list(query.with_clause.ctes)
        del query.with_clause.ctes[:]
        add_copies(query.with_clause.ctes, [*insert.with_clause.ctes, *own])
        query.with_clause.recursive |= insert.with_clause.recursive
    return query


def _created(tree: Message) -> Written | str:
    into = into_of(tree)
    if into is None:
        return "it writes no rows"
    kinds = tree.DESCRIPTOR.fields_by_name
    if "objtype" in kinds:
        objects = kinds["objtype"].enum_type.values_by_number
        if objects[tree.objtype].name != _OBJECT_TABLE:
            return "materialized views are made on one connection"
    if into.rel.relpersistence == "t":
        return "a temporary table is seen by one connection only"
    return Written("create", into.rel)


def _changes_in_with(tree: Message) -> bool:
    return any(
        kind_of(node) == "CommonTableExpr" and kind_of(inner(node.ctequery)) in CHANGING
        for node in walk(tree)
    )


def _with_queries(
    clause: Message, hidden: frozenset[str]
) -> tuple[list[tuple[Message, frozenset[str]]], frozenset[str]]:
    """The WITH queries, each with the names it does not see as relations; and those of the body."""
    every = hidden | {inner(cte).ctename for cte in clause.ctes}
    queries = []
    for wrapped in clause.ctes:
        cte = inner(wrapped)
        queries.append((inner(cte.ctequery), every if clause.recursive else hidden))
        hidden |= {cte.ctename}
    return queries, every


def _refuse_namesakes(places: list[Message], change: Retarget) -> None:
    """`t` and `other.t` side by side are told apart by their schemas, which an alias has not."""
    for node in places:
        is_own = relation_name(node) in change.targets
        if node.relname == change.full[1] and not node.HasField("alias") and not is_own:
            raise RetargetError(f"two tables in it are called {node.relname}")


def _replace(node: Message, copy: tuple[str, str]) -> None:
    if not node.HasField("alias"):
        node.alias.aliasname = node.relname
    node.catalogname = ""
    node.schemaname, node.relname = copy


def _shorten(reference: Message, full: tuple[str, str]) -> None:
    """`schema.t.x` to `t.x`: the alias has no schema."""
    parts = [inner(field) for field in reference.fields]
    texts = tuple(part.sval if kind_of(part) == "String" else "" for part in parts)
    if len(texts) == 3 and texts[:2] == full:
        del reference.fields[0]
    elif len(texts) == 4 and texts[1:3] == full:
        del reference.fields[:2]


def _nextvals(tree: Message) -> Iterator[Message]:
    for node in walk(tree):
        if kind_of(node) == "FuncCall" and names(node.funcname)[-1:] == ("nextval",):
            yield node


def _constant(call: Message) -> Message | None:
    """The string that a call is given, under whatever casts; None when it is something else."""
    argument = inner(call.args[0]) if call.args else call
    while kind_of(argument) == "TypeCast":
        argument = inner(argument.arg)
    is_text = kind_of(argument) == "A_Const" and argument.WhichOneof("val") == "sval"
    return argument if is_text else None
