"""What the catalogue would say of an example's tables, read off its setup: no server is asked.

Enough for the analysis to judge what the generator draws; sizes are guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.facts import (
    CatalogFacts,
    ColumnFacts,
    FunctionFacts,
    RelationFacts,
    UniqueIndex,
    ViewFacts,
)
from pgfan.sql.keys import Level
from pgfan.sql.parsing import parse
from pgfan.sql.tree import deparse_expression, deparse_statement, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.facts import Name, Volatility

Tree = Any
"""A message of the parser; its classes have no types."""

_FUNCTIONS: list[tuple[Volatility, str, bool, str]] = [
    ("i", "f", False, "abs cardinality length lower lpad md5 position replace round substr"),
    ("i", "f", False, "btrim floor mod overlay repeat reverse sqrt substring upper"),
    ("s", "f", False, "now to_char to_date date_part date_trunc extract timezone concat"),
    ("v", "f", False, "clock_timestamp gen_random_uuid nextval random"),
    ("i", "a", False, "array_agg avg bool_and bool_or count every max min string_agg sum"),
    (
        "i",
        "w",
        False,
        "cume_dist dense_rank first_value lag lead ntile percent_rank rank row_number",
    ),
    ("i", "f", True, "generate_series unnest"),
]
"""Volatility, kind, whether sets are returned, names in pg_catalog."""
_DROP_COLUMN = pb.AlterTableType.Value("AT_DropColumn")
_PRIMARY = pb.ConstrType.Value("CONSTR_PRIMARY")
_DEFAULT = pb.ConstrType.Value("CONSTR_DEFAULT")
_TYPES = {"int4": "integer", "int8": "bigint", "bool": "boolean"}


def facts_of(setup: Iterable[str]) -> CatalogFacts:
    """The facts after `setup`."""
    tables = _Tables()
    for text in setup:
        for statement in parse(text).stmts:
            tables.add(inner(statement.stmt))
    functions: dict[Name, tuple[FunctionFacts, ...]] = {}
    for volatility, kind, returns_set, listed in _FUNCTIONS:
        for name in listed.split():
            functions[name,] = (FunctionFacts("pg_catalog", volatility, kind, returns_set),)
            functions["pg_catalog", name] = functions[name,]
    return CatalogFacts(tables.relations, functions)


class _Tables:
    def __init__(self) -> None:
        self.relations: dict[Name, RelationFacts] = {}

    def add(self, tree: Tree) -> None:
        """Take note of one statement of a setup."""
        match kind_of(tree):
            case "CreateStmt" if tree.inh_relations:
                self._add_partition(tree)
            case "CreateStmt":
                self._add_table(tree)
            case "IndexStmt":
                column = inner(tree.index_params[0]).name
                self._add_index(tree.relation, column, unique=tree.unique)
            case "ViewStmt":
                self._add_view(tree)
            case "AlterTableStmt" if inner(tree.cmds[0]).subtype == _DROP_COLUMN:
                dropped = inner(tree.cmds[0]).name
                found = self.relations[relation_name(tree.relation)]
                kept = tuple(one for one in found.columns if one.name != dropped)
                self._put(replace(found, columns=kept))
            case _:
                pass

    def _put(self, facts: RelationFacts) -> None:
        self.relations[facts.name,] = facts

    def _add_table(self, tree: Tree) -> None:
        number, name = len(self.relations) + 1, tree.relation.relname
        parts = [inner(part) for part in tree.table_elts]
        columns = tuple(_column(part) for part in parts if kind_of(part) == "ColumnDef")
        is_parted = tree.HasField("partspec")
        family = frozenset({number})
        kind = "p" if is_parted else "r"
        self._put(
            RelationFacts(
                number,
                name=name,
                kind=kind,
                heap=not is_parted,
                has_children=is_parted,
                family=family,
                columns=columns,
                rows=10.0 * number,
            )
        )
        for part in parts:
            if kind_of(part) == "Constraint":
                (column,) = names(part.keys)
                self._add_index(tree.relation, column, unique=True)
                self._change(tree.relation, column, unique=part.contype == _PRIMARY)

    def _add_partition(self, tree: Tree) -> None:
        parent = self.relations[relation_name(inner(tree.inh_relations[0]))]
        number, name = len(self.relations) + 1, tree.relation.relname
        leaf = replace(
            parent,
            oid=number,
            name=name,
            kind="r",
            heap=True,
            has_children=False,
            family=frozenset({number, parent.oid}),
        )
        self._put(leaf)
        family = [one for one in self.relations.values() if parent.oid in one.family]
        leaves = [one.name for one in family if one.kind == "r"]
        text = " UNION ALL ".join(f"SELECT * FROM ONLY {leaf}" for leaf in leaves)
        self._put(replace(parent, family=parent.family | {number}, view=ViewFacts(text)))

    def _add_view(self, tree: Tree) -> None:
        level = Level(inner(tree.query), CatalogFacts(self.relations))
        named = names(tree.aliases)
        columns = []
        for at, (own, column) in enumerate(level.outputs or ()):
            key = level.key_type(column) if column is not None else None
            title = named[at] if at < len(named) else own
            columns.append(ColumnFacts(title, None, type=key.type if key else "text"))
        number, name = len(self.relations) + 1, tree.view.relname
        self._put(
            RelationFacts(
                number,
                name=name,
                kind="v",
                heap=False,
                family=frozenset({number}),
                columns=tuple(columns),
                view=ViewFacts(deparse_statement(tree.query)),
            )
        )

    def _add_index(self, relation: Tree, column: str, *, unique: bool) -> None:
        self._change(relation, column, indexed=True)
        if unique:
            found = self.relations[relation_name(relation)]
            index = UniqueIndex((column,), frozenset({column}))
            self._put(
                replace(
                    found,
                    unique_columns=found.unique_columns | {column},
                    unique_indexes=(*found.unique_indexes, index),
                )
            )

    def _change(self, relation: Tree, column: str, **changes: bool) -> None:
        found = self.relations[relation_name(relation)]
        columns = tuple(
            replace(one, **changes) if one.name == column else one for one in found.columns
        )
        self._put(replace(found, columns=columns))


def _column(part: Tree) -> ColumnFacts:
    defaults = [inner(one) for one in part.constraints if inner(one).contype == _DEFAULT]
    default = deparse_expression(defaults[0].raw_expr) if defaults else None
    kind = names(part.type_name.names)[-1]
    return ColumnFacts(part.colname, default, type=_TYPES.get(kind, kind))
