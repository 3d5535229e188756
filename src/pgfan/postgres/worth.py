"""What the catalogue says of candidates and of what a split reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.quoting import qualified
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.postgres.choosing import Option
    from pgfan.postgres.chosen import Chosen
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts, SpaceFacts


def rows_of(candidate: Candidate, facts: CatalogFacts) -> float:
    """About how many rows the candidate's relation has."""
    return facts.relations[candidate.relation or ()].estimated_rows


def is_indexed(candidate: Candidate, facts: CatalogFacts) -> bool:
    """Whether an index begins with the candidate's column, or expression."""
    if candidate.key == "expression":
        return True
    if candidate.key == "cells":
        return space_of(candidate, facts).indexed
    columns = facts.relations[candidate.relation or ()].columns
    return any(column.indexed for column in columns if column.name == candidate.stored_as)


def space_of(candidate: Candidate, facts: CatalogFacts) -> SpaceFacts:
    """What gives the rows of a candidate for cells their place."""
    columns = facts.relations[candidate.relation or ()].columns
    found = next(column.space for column in columns if column.name == candidate.stored_as)
    if found is None:
        raise AssertionError(f"{candidate.stored_as} gives no row a place")
    return found


def is_by_value(candidate: Candidate, split: Split) -> bool:
    """Whether chunks look rows up by value: their own, or those of a MERGE's target."""
    return candidate.is_by_value or kind_of(split.tree) == "MergeStmt"


def further_keys(candidate: Candidate, split: Split, facts: CatalogFacts) -> Iterator[Candidate]:
    """The candidate with what may divide the rows of one of its values, the best first.

    Each part is sound by itself, so they are together: rows that belong together agree in both.
    Blocks, read one after the other; the next column of an index; a column that has its own.
    """
    beside = [one for one in split.candidates if one.is_beside(candidate) and one != candidate]
    indexes = facts.relations[candidate.relation or ()].indexes
    following = [index[1] for index in indexes if index[0] == candidate.stored_as]
    blocks = [one for one in beside if one.key == "ctid"]
    columns = [one for one in beside if one.key == "column"]
    next_ones = [one for one in columns if one.stored_as in following]
    others = [one for one in columns if is_indexed(one, facts) and one not in next_ones]
    for one in (*blocks[:1], *next_ones[:1], *others[:1]):
        yield replace(candidate, then=(one,))


def worse(other: Option, best: Chosen, facts: CatalogFacts) -> Reason:
    """Why `best` was taken though nobody asked what the other one costs."""
    own, taken = other.candidate, best.candidate
    if own.is_by_value and not taken.is_by_value:
        return Reason("not-best", "blocks and series need no index and no statistics")
    if own.is_by_value and is_indexed(taken, facts) and not is_indexed(own, facts):
        return Reason("not-best", f"{own.stored_as} has no index, {taken.stored_as} has one")
    most = float(best.series.count) if best.series is not None else rows_of(taken, facts)
    if other.rows < most:
        name = ".".join(taken.relation or ("generate_series",))
        why = f"about {other.rows:,.0f} rows to divide; {name} has {most:,.0f}"
        return Reason("not-best", why)
    if taken.key == "ctid":
        return Reason("not-best", f"blocks of {'.'.join(taken.relation or ())} do as well")
    return Reason("not-best", f"{taken.stored_as or taken.key} does as well")


def source_names(split: Split, facts: CatalogFacts) -> tuple[str, ...]:
    """Quoted full names of the relations read."""
    relations = [facts.relations[name] for name in split.reads]
    return tuple(sorted({qualified((relation.schema, relation.name)) for relation in relations}))
