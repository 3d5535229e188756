"""Columns and constraints as CREATE TABLE and ALTER TABLE write them: what they touch and make.

Serial and identity columns make a sequence that they own, unique constraints an index; their names
are worked out as the server does (ChooseRelationName in commands/indexcmds.c), because others may
use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.definitions import Column, ForeignKey, Relation
from pgfan.sql.effects import NOTHING, Accesses, Effect, ObjectName
from pgfan.sql.queries import code_of, collect
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.collector import Collector
    from pgfan.sql.definitions import Code
    from pgfan.sql.effects import EffectKind

SERIAL = frozenset(
    {"serial", "serial4", "bigserial", "serial8", "smallserial", "serial2"}
)  # parser/parse_utilcmd.c, transformColumnDefinition
NAME_BYTES_MAX = 63
_INDEXED = {pb.CONSTR_PRIMARY: "pkey", pb.CONSTR_UNIQUE: "key", pb.CONSTR_EXCLUSION: "excl"}
_CHANGES_ROWS = frozenset("cnd")  # CASCADE, SET NULL, SET DEFAULT


class Parts(Struct):
    """What the elements of a table add up to."""

    table: ObjectName
    columns: list[Column] = field(default_factory=list)
    on_write: list[Code] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    uses: set[Effect] = field(default_factory=set)
    made: list[Relation] = field(default_factory=list)
    """Sequences and indexes."""
    validates: bool = False
    """Foreign keys look at the rows that are there already."""

    def run_on_write(self, code: Accesses) -> None:
        """What is evaluated for every row that is written."""
        if code != NOTHING:
            self.on_write.append(code)

    def add_to(self, relation: Relation) -> Relation:
        """The relation with them."""
        kept = [c for c in relation.columns or () if c.name not in {n.name for n in self.columns}]
        is_known = relation.columns is not None or self.columns
        return replace(
            relation,
            columns=(*kept, *self.columns) if is_known else None,
            on_write=(*relation.on_write, *self.on_write),
            foreign_keys=(*relation.foreign_keys, *self.foreign_keys),
            uses=relation.uses | self.uses,
        )


def object_name(first: str, second: str, label: str) -> str:
    """The server's makeObjectName (commands/indexcmds.c) cuts the longer one until all fits."""
    room = NAME_BYTES_MAX - len(label.encode()) - (2 if second else 1)
    one, two = first.encode(), second.encode()
    while len(one) + len(two) > room:
        one, two = (one[:-1], two) if len(one) > len(two) else (one, two[:-1])
    kept = [part.decode(errors="ignore") for part in (one, two)]
    return "_".join([*filter(None, kept), label])


def choose_name(
    collector: Collector, table: ObjectName, columns: Iterable[str], label: str, taken: set[str]
) -> ObjectName:
    """The name of a sequence or index that was given none; every name that was tried is touched."""
    for number in range(1000):
        suffix = label if not number else f"{label}{number}"
        name = object_name(table.name, "_".join(columns), suffix)
        found = ObjectName("relation", table.schema, name)
        collector.touch("define", found)
        if name not in taken and not collector.definitions.exists(found):
            taken.add(name)
            return found
    collector.block("name-hidden", f"no name is free for what belongs to {table}")
    return found


def add_element(collector: Collector, node: Message, parts: Parts) -> None:
    """One element of CREATE TABLE's list, or what ALTER TABLE ... ADD has."""
    match kind_of(node):
        case "ColumnDef":
            _column(collector, node, parts)
        case "Constraint":
            add_constraint(collector, node, parts, "")
        case "TableLikeClause":
            _like(collector, node, parts)
        case _:
            collect(collector, node)


def _column(collector: Collector, node: Message, parts: Parts) -> None:
    name = names(node.type_name.names)
    serial = len(name) == 1 and name[0] in SERIAL and not node.type_name.array_bounds
    default: list[Code] = []
    if serial:
        default.append(add_sequence(collector, parts, node.colname, ()))
    elif node.HasField("type_name"):
        parts.uses |= type_uses(collector, node.type_name)
    if node.HasField("raw_default"):
        default.append(code_of(collector, node.raw_default))
    if node.HasField("coll_clause"):
        collect(collector, node.coll_clause)
    column = Column(node.colname, tuple(default))
    for constraint in map(inner, node.constraints):
        column = add_constraint(collector, constraint, parts, node.colname, column) or column
    parts.columns.append(column)


def type_uses(collector: Collector, node: Message) -> frozenset[Effect]:
    """The user's types in a TypeName: touched, and kept with what is made of them.

    A composite type, or the row type of a table, is a relation.
    """
    found = code_of(collector, node)
    kinds = {"type", "relation"}
    return frozenset(Effect("use", e.object) for e in found.effects if e.object.kind in kinds)


def add_sequence(
    collector: Collector, parts: Parts, column: str, options: Iterable[Message]
) -> Accesses:
    """The sequence of a serial or identity column; what drawing from it touches."""
    given = [inner(option.arg) for option in options if option.defname == "sequence_name"]
    if given:
        name = names(given[0].items)
        schema = name[-2] if len(name) > 1 else parts.table.schema
        sequence = ObjectName("relation", schema, name[-1])
        collector.touch("define", sequence)
    else:
        taken = {relation.name.name for relation in parts.made}
        sequence = choose_name(collector, parts.table, [column], "seq", taken)
    parts.made.append(Relation(sequence, "sequence", table=parts.table, column=column))
    return Accesses(frozenset({Effect("modify", sequence)}))


def add_constraint(
    collector: Collector, node: Message, parts: Parts, column: str, of: Column | None = None
) -> Column | None:
    """A constraint of a table, or of the column `of`; the column when it has a default now."""
    match node.contype:
        case pb.CONSTR_DEFAULT if of:
            return replace(of, default=(*of.default, code_of(collector, node.raw_expr)))
        case pb.CONSTR_IDENTITY if of:
            options = [inner(option) for option in node.options]
            drawn = add_sequence(collector, parts, column, options)
            return replace(of, default=(*of.default, drawn))
        case pb.CONSTR_GENERATED | pb.CONSTR_CHECK:
            parts.run_on_write(code_of(collector, node.raw_expr))
        case pb.CONSTR_PRIMARY | pb.CONSTR_UNIQUE | pb.CONSTR_EXCLUSION:
            _indexed(collector, node, parts, column)
        case pb.CONSTR_FOREIGN:
            _foreign_key(collector, node, parts)
        case _:
            collect(collector, node)
    return None


def _indexed(collector: Collector, node: Message, parts: Parts, column: str) -> None:
    label = _INDEXED[node.contype]
    columns = list(names(node.keys)) or ([column] if column else [])
    for pair in node.exclusions:
        element = pair.list.items[0].index_elem
        columns.append(element.name or "expr")
        parts.run_on_write(code_of(collector, pair))
    if node.HasField("where_clause"):
        parts.run_on_write(code_of(collector, node.where_clause))
    if node.indexname:
        used = ObjectName("relation", parts.table.schema, node.indexname)
        collector.touch("alter", used)
    if node.conname:
        index = ObjectName("relation", parts.table.schema, node.conname)
        collector.touch("define", index)
    elif node.indexname:
        return
    else:
        taken = {relation.name.name for relation in parts.made}
        primary = node.contype == pb.CONSTR_PRIMARY
        index = choose_name(collector, parts.table, () if primary else columns, label, taken)
    key = () if node.contype == pb.CONSTR_EXCLUSION else tuple(columns)
    parts.made.append(Relation(index, "index", table=parts.table, key=key))


def _foreign_key(collector: Collector, node: Message, parts: Parts) -> None:
    """The referenced table gets triggers: writers are kept out meanwhile, as the server does."""
    changes = bool({node.fk_upd_action, node.fk_del_action} & _CHANGES_ROWS)
    target = relation_name(node.pktable)
    found = collector.relation("lock", target)
    for name in found:
        parts.foreign_keys.append(ForeignKey(name, changes, node.conname))
        if parts.validates and not node.skip_validation:
            collector.touch("read", name)


def _like(collector: Collector, node: Message, parts: Parts) -> None:
    """LIKE: with options, defaults, checks, indexes and comments of the table may be copied."""
    kind: EffectKind = "alter" if node.options else "use"
    for name in collector.relation(kind, relation_name(node.relation)):
        for one in collector.definitions.matching(name):
            relation = collector.definitions.relations[one]
            for column in relation.columns or ():
                default = column.default if node.options else ()
                parts.columns.append(replace(column, default=default))
            parts.uses |= relation.uses
            if node.options:
                parts.on_write += relation.on_write
                collector.definitions.has_unknown_indexes = True
                _like_indexes(collector, relation, parts)


def _like_indexes(collector: Collector, relation: Relation, parts: Parts) -> None:
    """The names of copied indexes and sequences: as if each had to be chosen anew."""
    for below in sorted(collector.definitions.below.get(relation.name, ())):
        kind = collector.definitions.relations[below].kind
        if kind not in {"index", "sequence"}:
            continue
        tail = below.name.removeprefix(relation.name.name).lstrip("_")
        *middle, label = tail.split("_")
        taken = {made.name.name for made in parts.made}
        name = choose_name(collector, parts.table, middle, label or "idx", taken)
        parts.made.append(Relation(name, kind, table=parts.table))
