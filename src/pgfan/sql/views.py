"""Views expanded: the definition put where the view is read, as a subquery in FROM.

The server does the same with every query that reads a view (manual, "Views and the Rule System"),
so the rules for subqueries hold for it, and a table inside of the view may drive the statement. A
subquery differs from a view in little: it has no row type of its own, no name with a schema, and
nobody but the running role reads its relations. Where that could be seen the view stays, and the
statement is not split.

Definitions are text that means under the session's search_path what the view means
(`pgfan.postgres.views`). Each is put in order by itself before it is put anywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct, field
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import References, references, relation_name
from pgfan.sql.inline import inlined, not_analysed
from pgfan.sql.levels import SYSTEM_COLUMNS
from pgfan.sql.parsing import NestedTooDeepError, is_deeper, parse
from pgfan.sql.reasons import Reason
from pgfan.sql.render import LEVELS_MAX
from pgfan.sql.tree import Message, Nodes, children, copy_of, inner, kind_of, slots, walk, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgfan.sql.facts import CatalogFacts, Name, RelationFacts

NESTED_MAX = 20
"""Views on views; deeper ones are left alone."""
EXPANSIONS_MAX = 50
"""Definitions in one statement: views that join themselves double with each view on top."""


class Expanded(Struct, frozen=True):
    """The statement without its views, and why those that are still in it could not be replaced."""

    tree: Message
    refused: Mapping[Name, Reason] = field(default_factory=dict)


def expanded(
    tree: Message,
    facts: CatalogFacts,
    kinds: frozenset[str] = frozenset({"v"}),
    nodes: Nodes | None = None,
) -> Expanded:
    """`tree` with every view's definition in its place; `tree` itself when it names no view.

    `facts` must hold what the definitions name. What `tree` writes to is left as it is. With
    `kinds` "p" and "r", tables that are made of leaves are replaced by a SELECT of those. `nodes`
    are those of `tree` where they are known.
    """
    replaced = {
        name
        for name, relation in facts.relations.items()
        if relation.kind in kinds and (relation.kind == "v" or relation.view)
    }
    if not replaced:
        return Expanded(tree)
    named = (nodes or Nodes(walk(tree))).of("RangeVar")
    if replaced.isdisjoint(map(relation_name, named)):
        return Expanded(tree)
    expander = _Expander(facts, kinds)
    try:
        changed = expander.expand(tree, 0).query
    except _TooManyError as error:
        return Expanded(tree, dict.fromkeys(facts.relations, Reason("view", str(error))))
    if is_deeper(changed, LEVELS_MAX):
        why = Reason("deparse", "with its views the statement is nested too deeply")
        return Expanded(tree, dict.fromkeys(facts.relations, why))
    return Expanded(changed, expander.refused)


def definition_references(definitions: Iterable[str]) -> References:
    """The names in definitions; one that this parser does not read has none."""
    found = References()
    for text in definitions:
        query = _parsed(text)
        if query is not None:
            found |= references(query)
    return found


@lru_cache(maxsize=256)
def _parsed(definition: str) -> Message | None:
    """The SelectStmt of a definition, not to be changed; None for what is not one."""
    try:
        statements = parse(definition).stmts
    except (postgast.PgQueryError, NestedTooDeepError):
        return None
    query = inner(statements[0].stmt) if len(statements) == 1 else None
    return query if query is not None and kind_of(query) == "SelectStmt" else None


class _TooManyError(Exception):
    """A statement that would grow out of bounds; it stays as it is."""


class _Query(Struct, frozen=True):
    """A statement or a definition, and how many definitions have been put into it."""

    query: Message
    count: int = 0


class _Expander:
    """Expands one statement; each definition is put in order once."""

    def __init__(self, facts: CatalogFacts, kinds: frozenset[str]) -> None:
        self._facts = facts
        self._kinds = kinds
        self._definitions: dict[Name, _Query | Reason] = {}
        self.refused: dict[Name, Reason] = {}

    def expand(self, query: Message, depth: int) -> _Query:
        """A copy with definitions in place of views; `query` itself when it names none."""
        copy, count = copy_of(query), 0
        stays = any(kind_of(node) == "WithClause" and not_analysed(node) for node in walk(query))
        for node in [node for node in slots(copy) if node.WhichOneof("node") == "range_var"]:
            reference = node.range_var
            name = relation_name(reference)
            view = self._facts.relations.get(name)
            if view is None or view.kind not in self._kinds or reference.catalogname:
                continue
            if view.kind != "v" and view.view is None:  # a table without leaves
                continue
            definition = _objection(reference, view, query) or self._definition(name, view, depth)
            if stays:  # its names could hide those in the definition
                definition = Reason("cte", f"the view {name[-1]} is read beside a WITH")
            elif isinstance(definition, _Query) and count + definition.count >= EXPANSIONS_MAX:
                raise _TooManyError(f"more than {EXPANSIONS_MAX} views in one statement")
            if isinstance(definition, Reason):
                self.refused[name] = definition
                continue
            node.CopyFrom(_as_subquery(reference, view, definition.query))
            count += definition.count + 1
        return _Query(copy, count) if count else _Query(query)

    def _definition(self, name: Name, view: RelationFacts, depth: int) -> _Query | Reason:
        if name not in self._definitions:
            self._definitions[name] = self._made(name[-1], view, depth)
        return self._definitions[name]

    def _made(self, title: str, view: RelationFacts, depth: int) -> _Query | Reason:
        against = _objection_to_view(title, view)
        if against is not None:
            return against
        if depth >= NESTED_MAX:
            raise _TooManyError(f"{title} is one of more than {NESTED_MAX} views on views")
        query = _parsed(view.view.definition) if view.view else None
        if query is None:
            return Reason("view", f"the definition of {title} cannot be read")
        return self.expand(inlined(query), depth + 1)


def _objection_to_view(title: str, view: RelationFacts) -> Reason | None:
    """What the catalogue says against a definition in the view's place."""
    found = view.view
    if view.persistence == "t":
        return Reason("temporary-table", f"{title} is temporary: other connections cannot see it")
    if found is None or not found.definition:
        return Reason("view", f"{title} is one of PostgreSQL's own views")
    if view.has_rules:
        return Reason("rule", f"{title} has a rule")
    if found.row_security:
        return Reason(
            "row-security", f"row-level security is on for a relation in the view {title}"
        )
    if found.security_barrier:
        return Reason("view", f"{title} is a security barrier: what is evaluated first matters")
    if found.forbidden:
        return Reason("view", f"the role may read {title}, but not {found.forbidden[0]} in it")
    if found.hidden_operators:
        why = f"{title} uses an operator {found.hidden_operators[0]} that search_path hides"
        return Reason("operator-unknown", why)
    return None


def _objection(reference: Message, view: RelationFacts, query: Message) -> Reason | None:
    """What the query around a view does that a subquery in its place would not bear."""
    name = relation_name(reference)[-1]
    if not reference.inh:
        return Reason("view", f"ONLY {name}: a subquery has no ONLY")
    if view.kind != "v" and any(_is_system_column(node) for node in walk(query)):
        return Reason("view", f"a system column is read, and it may be one of {name}")
    alias = reference.alias.aliasname or name
    if _is_used_as_row(query, alias, frozenset(_columns(reference, view))):
        return Reason(
            "view", f"rows of the view {alias} are used whole: a subquery has no row type"
        )
    return None


def _is_system_column(node: Message) -> bool:
    """Whether the node is a bare `tableoid` or the like, which a view has not."""
    if kind_of(node) != "ColumnRef" or len(node.fields) != 1:
        return False
    return node.fields[0].string.sval in SYSTEM_COLUMNS


def _is_used_as_row(query: Message, alias: str, columns: frozenset[str]) -> bool:
    """Whether `query` may say more of `alias` than the names of its columns.

    `alias`, `alias.*` inside of an expression, `alias.f` for f(alias), `schema.alias.column`.
    """
    stack = [query]
    while stack:
        node = stack.pop()
        if kind_of(node) == "SelectStmt":
            stars = [inner(entry.res_target.val) for entry in node.target_list]
            stars = [star for star in stars if _is_plain_star(star)]
            stack.extend(
                child
                for child in children(node)
                if kind_of(child) != "ResTarget" or not any(inner(child.val) is s for s in stars)
            )
            continue
        if kind_of(node) == "ColumnRef" and _means_row(node, alias, columns):
            return True
        stack.extend(children(node))
    return False


def _is_plain_star(node: Message) -> bool:
    """Whether the node is `*` or `a.*`, which in a target list stands for columns."""
    return (
        kind_of(node) == "ColumnRef"
        and len(node.fields) <= 2  # an alias and the star
        and node.fields[-1].WhichOneof("node") == "a_star"
    )


def _means_row(reference: Message, alias: str, columns: frozenset[str]) -> bool:
    parts = [part.string.sval for part in reference.fields]  # a star has none
    match parts:
        case [only]:
            return only == alias and alias not in columns
        case [first, last]:
            return first == alias and last not in columns
        case _:
            return alias in parts[:-1]


def _columns(reference: Message, view: RelationFacts) -> list[str]:
    """The names of the view's columns as the statement sees them."""
    renamed = [part.string.sval for part in reference.alias.colnames]
    return renamed + [column.name for column in view.columns[len(renamed) :]]


def _as_subquery(reference: Message, view: RelationFacts, query: Message) -> Message:
    subquery = pb.RangeSubselect()
    subquery.subquery.CopyFrom(wrap("select_stmt", query))
    subquery.alias.aliasname = reference.alias.aliasname or reference.relname
    for name in _columns(reference, view):
        subquery.alias.colnames.append(wrap("string", pb.String(sval=name)))
    return wrap("range_subselect", subquery)
