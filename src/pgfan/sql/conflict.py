"""INSERT ... ON CONFLICT: rows of several chunks must not meet on one row of the target.

In one statement the second row that meets a row is an error under DO UPDATE, and passed over under
DO NOTHING. Rows that agree in a unique index agree in each of its columns, so they lie in one chunk
when one of these columns receives a value that no two ranges have (`pgfan.sql.determinants`).

Which of several rows DO NOTHING stores is not specified, so it needs that for another reason: under
the shared snapshot of the chunks PostgreSQL refuses to pass over a row that the snapshot does not
see (40001). A statement that reads no relation has no snapshot, and may then be split by anything.
See "INSERT", ON CONFLICT, in PostgreSQL's manual, and docs/decisions/0010.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.determinants import is_stored_apart
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, inner, kind_of, walk, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.determinants import Determinant
    from pgfan.sql.facts import CatalogFacts, RelationFacts, UniqueIndex

WAITS = Reason(
    "on-conflict",
    "chunks with equal rows would wait for one another: no column that has to be unique receives "
    "the split key itself",
)
"""Why a statement that may be split so is not, unless asked to be."""
_DO_UPDATE = pb.OnConflictAction.Value("ONCONFLICT_UPDATE")
_USER_VALUE = pb.OverridingKind.Value("OVERRIDING_USER_VALUE")


def has_conflicts(insert: Message) -> bool:
    """Whether the INSERT has an ON CONFLICT clause."""
    return bool(insert.HasField("on_conflict_clause"))


def updates(insert: Message) -> bool:
    """Whether the INSERT may change rows that are there."""
    return has_conflicts(insert) and insert.on_conflict_clause.action == _DO_UPDATE


def assigned(insert: Message) -> frozenset[str]:
    """The columns that DO UPDATE changes."""
    clause = insert.on_conflict_clause
    return frozenset(entry.res_target.name for entry in clause.target_list)


def conflict_objections(insert: Message, facts: CatalogFacts) -> Iterator[Reason]:
    """What speaks against a split whatever the driving relation is."""
    if not has_conflicts(insert):
        return
    clause = insert.on_conflict_clause
    target = facts.relations.get(relation_name(insert.relation))
    if target is not None and target.kind != "?" and arbiters(insert, target) is None:
        yield Reason(
            "on-conflict",
            "its conflict target is no unique index of plain columns over all rows",
        )
    if any(kind_of(node) == "SubLink" for node in walk(clause)):
        named = [relation_name(node) for node in walk(clause) if kind_of(node) == "RangeVar"]
        family = target.family if target is not None else frozenset()
        if any(name in facts.relations and facts.relations[name].family & family for name in named):
            yield Reason(
                "reads-target", f"DO UPDATE reads {'.'.join(relation_name(insert.relation))}"
            )
        yield Reason("on-conflict", "subqueries in ON CONFLICT are not analysed")


def meeting_objections(
    insert: Message, found: Sequence[Determinant], facts: CatalogFacts
) -> Iterator[Reason]:
    """Why rows of several chunks may meet on one row of the target."""
    target = facts.relations.get(relation_name(insert.relation))
    if not has_conflicts(insert) or target is None:
        return
    given = _given(insert, target)
    for index in arbiters(insert, target) or ():
        if not any(_is_determined(name, target, given, found) for name in index.plain):
            columns = ", ".join(name or "an expression" for name in index.columns)
            yield Reason(
                "on-conflict",
                f"rows of several chunks may meet: no column of ({columns}) receives the split key",
            )
            return


def may_wait(insert: Message, select: Message, facts: CatalogFacts) -> bool:
    """Whether chunks whose rows meet do nothing worse than to wait for one another.

    As many rows are stored whichever comes first, where they meet in one unique index: of those
    that agree in it, one. Under an exclusion constraint, or in two indexes, a row may keep several
    out that would not meet each other.
    """
    target = facts.relations.get(relation_name(insert.relation))
    found = arbiters(insert, target) or () if target is not None else ()
    alike = len({index.columns for index in found}) == 1 and all(index.plain for index in found)
    return (
        has_conflicts(insert)
        and not updates(insert)
        and alike
        and (len(found) == 1 or all(index.whole for index in found))
        and not select.sort_clause  # the first row in its order is the one that is stored
        and not any(kind_of(node) == "RangeVar" for node in walk(select))
    )


def arbiters(insert: Message, target: RelationFacts) -> tuple[UniqueIndex, ...] | None:
    """The indexes whose conflicts are handled; None when the names at hand do not tell."""
    clause = insert.on_conflict_clause
    if not clause.HasField("infer"):
        return target.unique_indexes
    infer = clause.infer
    own = [index for index in target.unique_indexes if index.own]
    if infer.conname:
        return tuple(index for index in own if index.constraint == infer.conname) or None
    elements = [inner(node) for node in infer.index_elems]
    plain = all(one.name and not (one.collation or one.opclass) for one in elements)
    if infer.HasField("where_clause") or not plain:
        return None
    wanted = {one.name for one in elements}
    return tuple(index for index in own if index.whole and set(index.columns) == wanted) or None


def name_columns(insert: Message, target: RelationFacts) -> None:
    """Write ON CONSTRAINT as the columns of its index, in place: a copy has it under another name.

    A constraint that is not meant by its columns (an exclusion constraint) stays.
    """
    infer = insert.on_conflict_clause.infer
    meant = [one for one in target.unique_indexes if one.own and one.constraint == infer.conname]
    if infer.conname and len(meant) == 1 and meant[0].whole:
        infer.conname = ""
        for column in meant[0].columns:
            infer.index_elems.append(
                wrap(
                    "index_elem",
                    pb.IndexElem(
                        name=column,
                        ordering="SORTBY_DEFAULT",
                        nulls_ordering="SORTBY_NULLS_DEFAULT",
                    ),
                )
            )


def conflict_items(insert: Message) -> list[Message]:
    """What the expressions of DO UPDATE may name: the target, and the row as `excluded`."""
    if not has_conflicts(insert):
        return []
    excluded = pb.RangeVar()
    excluded.CopyFrom(insert.relation)
    excluded.alias.aliasname = "excluded"
    return [insert.relation, excluded]


def _given(insert: Message, target: RelationFacts) -> dict[str, int]:
    """Which output of the SELECT each column receives; none when identity columns ignore it."""
    if insert.override == _USER_VALUE:
        return {}
    if insert.cols:
        named = [entry.res_target for entry in insert.cols]
        return {one.name: at for at, one in enumerate(named) if not one.indirection}
    return {column.name: at for at, column in enumerate(target.columns)}


def _is_determined(
    name: str, target: RelationFacts, given: dict[str, int], found: Sequence[Determinant]
) -> bool:
    column = next((one for one in target.columns if one.name == name), None)
    at = given.get(name)
    return (
        column is not None
        and at is not None
        and any(at in one.outputs and is_stored_apart(one.key, column) for one in found)
    )
