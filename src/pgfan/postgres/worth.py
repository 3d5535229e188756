"""What the catalogue says of candidates and of what a split reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.quoting import qualified
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts


def rows_of(candidate: Candidate, facts: CatalogFacts) -> float:
    """About how many rows the candidate's relation has."""
    return facts.relations[candidate.relation or ()].estimated_rows


def is_indexed(candidate: Candidate, facts: CatalogFacts) -> bool:
    """Whether an index begins with the candidate's column."""
    columns = facts.relations[candidate.relation or ()].columns
    return any(column.indexed for column in columns if column.name == candidate.stored_as)


def fewer_than(divided: float, best: Candidate, best_rows: float) -> Reason:
    """Why `best` was taken rather than what has `divided` rows."""
    name = ".".join(best.relation or ("generate_series",))
    return Reason("not-best", f"about {divided:,.0f} rows to divide; {name} has {best_rows:,.0f}")


def worse(column: Candidate, best: Candidate, facts: CatalogFacts) -> Reason:
    """Why `best` was taken rather than another column."""
    divided, most = rows_of(column, facts), rows_of(best, facts)
    if is_indexed(best, facts) and not is_indexed(column, facts):
        return Reason("not-best", f"{column.stored_as} has no index, {best.stored_as} has one")
    if divided < most:
        return fewer_than(divided, best, most)
    return Reason("not-best", f"{best.stored_as} does as well")


def source_names(split: Split, facts: CatalogFacts) -> tuple[str, ...]:
    """Quoted full names of the relations read."""
    relations = [facts.relations[name] for name in split.reads]
    return tuple(sorted({qualified((relation.schema, relation.name)) for relation in relations}))
