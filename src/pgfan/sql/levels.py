"""Where an expression stands in an INSERT ... SELECT, and to which query level its names belong.

Two rules of PostgreSQL make this matter. An aggregate belongs to the innermost query whose columns
its arguments use (manual, "Aggregate Expressions"): `(SELECT count(b.x))` aggregates the query that
has b in its FROM. And `b.count` is a call of count(b) where b has no such column (manual, "Using
Composite Types in Queries"). What cannot be shown to be harmless with the catalogue's columns is
taken to be harmful.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pgfan.sql.access import relation_name
from pgfan.sql.branches import leftmost
from pgfan.sql.tree import Message, children, inner, kind_of, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.index import Place as IndexPlace
    from pgfan.sql.index import TreeIndex

SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})

Place: TypeAlias = Literal["target", "where", "sort", "conflict", "other", "below"]
"""In a SELECT on the path: its target list or HAVING, its WHERE, its ORDER BY; in ON CONFLICT;
elsewhere; or in a query that is not on the path, which every chunk evaluates whole."""

_PLACES: dict[str, Place] = {
    "target_list": "target",
    "having_clause": "target",
    "where_clause": "where",
    "sort_clause": "sort",
}


class Placed(NamedTuple):
    """A node with its type, the innermost SELECT around it, and where in the path that is."""

    node: Message
    kind: str
    select: Message
    place: Place

    @property
    def is_on_path(self) -> bool:
        """Whether the innermost SELECT around it is on the path."""
        return self.place != "below"

    @property
    def is_per_row(self) -> bool:
        """Whether it is evaluated for each row, or group of rows, of the driving relation."""
        return self.place in {"target", "where", "conflict"}


def placed(index: TreeIndex, place: IndexPlace, top: Message, *, is_on_path: bool) -> Placed:
    """A node of an INSERT, when the SELECT around it is, or is not, on the path from `top`."""
    _, node, kind, around, field = place
    if around < 0:
        is_conflict = field == "on_conflict_clause"
        return Placed(node, kind, top, "conflict" if is_conflict else "other")
    where: Place = _PLACES.get(field, "other") if is_on_path else "below"
    return Placed(node, kind, index.node(around), where)


def places_for(
    index: TreeIndex, path: Sequence[Message], kinds: frozenset[str]
) -> list[IndexPlace]:
    """The places of nodes of some types of an INSERT; those of `path[0]` first, parents first.

    `path`: the SELECTs around the driving relation. Of a set operation on the path only the arm
    that is on it too: a chunk has the others empty.
    """
    top = index.number(path[0])
    inside = range(top, index.end(top))
    left_out = other_arms(index, path)
    found: list[IndexPlace] = []
    outside: list[IndexPlace] = []
    for place in index.places(kinds):
        number = place.number
        if number in inside:
            if not any(number in arm for arm in left_out):
                found.append(place)
        elif number and not index.is_in_select(number):
            outside.append(place)
    return found + outside


def placed_nodes(index: TreeIndex, path: Sequence[Message], kinds: frozenset[str]) -> list[Placed]:
    """The same nodes, placed."""
    on_path = {index.number(select) for select in path}
    return [
        placed(index, place, path[0], is_on_path=place.around in on_path)
        for place in places_for(index, path, kinds)
    ]


def other_arms(index: TreeIndex, path: Sequence[Message]) -> tuple[range, ...]:
    """The arms of the set operations on the path that are not on it, as numbers of nodes."""
    arms = [arm for select in path if select.HasField("larg") for arm in (select.larg, select.rarg)]
    if not arms:
        return ()
    on_path = {index.number(select) for select in path}
    numbers = [index.number(arm) for arm in arms]
    return tuple(range(one, index.end(one)) for one in numbers if one not in on_path)


def belongs_to_own_level(call: Message, select: Message, facts: CatalogFacts) -> bool:
    """Whether an aggregate in `select` surely aggregates that SELECT and not one around it."""
    own: list[Message] = []
    has_columns = False
    stack = [(call, True)]
    while stack:
        node, is_own = stack.pop()
        if kind_of(node) == "ColumnRef":
            has_columns = True
            if is_own:
                own.append(node)
        is_own = is_own and kind_of(node) != "SelectStmt"
        stack.extend((child, is_own) for child in children(node))
    return not has_columns or any(_is_own_column(node, select, facts) for node in own)


def is_evaluated_per_row(query: Message, select: Message) -> bool:
    """Whether a subquery's WHERE uses a row of the FROM of `select`, under a name of its own.

    Then it is evaluated again for each row, and whatever order its own rows have is one that a
    single statement might have had for that row.
    """
    around = {_alias(item) for item in _items(select, named=True)} - {None}
    inside = {_alias(node) for node in walk(query) if is_from_item(node)}
    stack = [inner(query.where_clause)] if query.HasField("where_clause") else []
    while stack:
        node = stack.pop()
        if kind_of(node) == "SelectStmt":
            continue
        if kind_of(node) == "ColumnRef" and len(node.fields) == 2:
            qualifier = node.fields[0].string.sval
            if qualifier in around and qualifier not in inside:
                return True
        stack.extend(children(node))
    return False


def is_column(reference: Message, items: list[Message], facts: CatalogFacts) -> bool:
    """Whether `a.name` is a column of every item of `items` that may be called `a`."""
    if kind_of(reference) != "ColumnRef":
        return False
    qualifier, name = (field.string.sval for field in reference.fields[-2:])
    meant = [item for item in items if _alias(item) == qualifier]
    return bool(meant) and all(_has_column(item, name, facts) for item in meant)


def is_from_item(node: Message) -> bool:
    """Whether the node is something that FROM lists: a relation, a subquery, a function, a join."""
    return is_from_kind(kind_of(node))


def is_from_kind(kind: str) -> bool:
    """The same for the type of a node."""
    return kind.startswith("Range") or kind in {"JoinExpr", "JsonTable"}


def _is_own_column(reference: Message, select: Message, facts: CatalogFacts) -> bool:
    fields = [inner(field) for field in reference.fields]
    names = [field.sval for field in fields if kind_of(field) == "String"]
    if len(fields) == 1:
        return bool(names) and any(
            _has_column(item, names[0], facts) for item in _items(select, named=False)
        )
    return len(fields) == 2 and any(_alias(item) == names[0] for item in _items(select, named=True))


def _items(select: Message, *, named: bool) -> Iterator[Message]:
    """The items of FROM whose names (`named`), or whose bare columns, can be used in `select`."""
    stack = [inner(node) for node in select.from_clause]
    while stack:
        node = stack.pop()
        if kind_of(node) != "JoinExpr":
            yield node
            continue
        if node.HasField("alias"):
            yield node
            if named or node.alias.colnames:  # the join's alias hides what is inside
                continue
        stack.extend((inner(node.larg), inner(node.rarg)))


def _alias(item: Message) -> str | None:
    if "alias" in item.DESCRIPTOR.fields_by_name and item.HasField("alias"):
        return str(item.alias.aliasname)
    return str(item.relname) if kind_of(item) == "RangeVar" else None


def _has_column(item: Message, name: str, facts: CatalogFacts) -> bool:
    """Whether the item surely has a column of this name."""
    renamed: list[str] = []
    if "alias" in item.DESCRIPTOR.fields_by_name and item.HasField("alias"):
        renamed = [part.string.sval for part in item.alias.colnames]
    if name in renamed:
        return True
    match kind_of(item):
        case "RangeVar":
            relation = facts.relations.get(relation_name(item))
            columns = [column.name for column in relation.columns] if relation else []
            return name in columns[len(renamed) :] or name in SYSTEM_COLUMNS
        case "RangeSubselect":
            return name in _output_names(inner(item.subquery))[len(renamed) :]
        case "RangeFunction":
            call = inner(item.functions[0].list.items[0])
            is_series = kind_of(call) == "FuncCall" and (
                call.funcname[-1].string.sval == "generate_series"
            )
            return is_series and not renamed and name == _alias(item)
        case _:
            return False


def _output_names(select: Message) -> list[str]:
    """The columns of a subquery as far as they are written down; none when a star hides them."""
    outputs: list[str] = []
    for target in leftmost(select).target_list:
        value = inner(target.res_target.val)
        if target.res_target.name:
            outputs.append(target.res_target.name)
        elif kind_of(value) == "ColumnRef":
            last = inner(value.fields[-1])
            if kind_of(last) != "String":
                return []
            outputs.append(last.sval)
        else:
            outputs.append("")
    return outputs
