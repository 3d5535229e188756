"""Which of the sound candidates is taken: the one with the most rows, by what the server knows."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgfan.postgres.bounds import read_bounds
from pgfan.postgres.chosen import Chosen
from pgfan.postgres.series import MeasuredSeries, measure_series
from pgfan.postgres.worth import fewer_than, is_indexed, rows_of, worse
from pgfan.sql.conflict import WAITS
from pgfan.sql.freeze import freeze_time
from pgfan.sql.reasons import Reason
from pgfan.sql.rewrite import series_call
from pgfan.sql.tree import copy_of

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts

RANGES = 1000
"""Ranges that a column's values are cut into at most; a chunk is some of them."""
Rejected: TypeAlias = "dict[Candidate, tuple[Reason, ...]]"
"""Candidates that are not taken, each with the reasons; filled on the way to the one that is."""
_NO_SERIES = Reason("series-bounds", "the series has no bounds that can be cut")
_COLUMNS_LAST = Reason("not-best", "blocks and series need no index and no statistics")


@dataclass(frozen=True)
class SplitOptions:
    """What the user said about splitting; `by` is None, "ctid" or "series".

    `jobs` are the workers that there will be.
    """

    split: Literal["auto", "always", "never"] = "auto"
    by: str | None = None
    atomic: bool = False
    jobs: int = 2
    closely: bool = False
    """Whether small statements are analysed to the end, to show what speaks against a split."""


class Chooser:
    """Chooses with a session of its own, which must be at the item's settings."""

    def __init__(self, session: PostgresSession, options: SplitOptions) -> None:
        self._session = session
        self._options = options

    def choose(
        self, split: Split, facts: CatalogFacts, frozen_at: str, rejected: Rejected
    ) -> Chosen | Reason:
        """The candidate with the most rows; a column only when there is nothing else.

        The others are put into `rejected`.
        """
        measured: list[tuple[float, Chosen]] = []
        columns: list[Candidate] = []
        for candidate in split.candidates:
            if self._options.by not in {None, candidate.key, candidate.stored_as}:
                rejected[candidate] = (Reason("not-best", f"--by {self._options.by}"),)
            elif candidate.may_wait and self._options.split == "auto":
                return WAITS
            elif candidate.key == "column":
                columns.append(candidate)
            elif candidate.key == "ctid":
                measured.append((rows_of(candidate, facts), Chosen(candidate)))
            elif series := self.measure(split, candidate, facts, frozen_at):
                measured.append((float(series.count), Chosen(candidate, series)))
            else:
                rejected[candidate] = (_NO_SERIES,)
        if measured:
            most, best = max(measured, key=itemgetter(0))
            fewer = {
                chosen.candidate: (fewer_than(rows, best.candidate, most),)
                for rows, chosen in measured
                if chosen is not best
            }
            rejected.update(fewer | dict.fromkeys(columns, (_COLUMNS_LAST,)))
            return best
        if columns:
            return self._choose_column(columns, facts, rejected)
        if self._options.by is not None:
            return Reason("key-not-found", f"nothing to split by {self._options.by}")
        return _NO_SERIES

    def _choose_column(
        self, columns: list[Candidate], facts: CatalogFacts, rejected: Rejected
    ) -> Chosen | Reason:
        """An indexed column of the largest relation, that has more than one value."""

        def worth(candidate: Candidate) -> tuple[bool, float]:
            return not is_indexed(candidate, facts), -rows_of(candidate, facts)

        best: Chosen | None = None
        whole: Chosen | None = None
        forced = self._options.split == "always" or self._options.by is not None
        for candidate in sorted(columns, key=worth):
            name = candidate.stored_as or ""
            if not forced and not is_indexed(candidate, facts):
                why = f"{name} has no index: every chunk would read all rows"
                reason = Reason("key-not-indexed", why)
            elif best is not None:
                reason = worse(candidate, best.candidate, facts)
            else:
                relation = facts.relations[candidate.relation or ()]
                found = read_bounds(self._session, relation.oid, name, RANGES)
                if found.bounds:
                    best = Chosen(candidate, column=found)
                    continue
                if self._options.split == "always":
                    whole = whole or Chosen(candidate, column=found)
                reason = Reason("key-not-found", f"{name} has too few values to be cut into ranges")
            rejected[candidate] = (reason,)
        if best is None and whole is not None:  # one range with all rows, as was asked for
            del rejected[whole.candidate]
            best = whole
        return best if best is not None else reason

    def rows_of(
        self, split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
    ) -> float:
        """About how many rows the candidate has; 0 for a series that cannot be cut."""
        if candidate.key != "series":
            return rows_of(candidate, facts)
        series = self.measure(split, candidate, facts, frozen_at)
        return float(series.count) if series else 0.0

    def measure(
        self, split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
    ) -> MeasuredSeries | None:
        """What the server says of a series; None when it has no bounds that can be cut."""
        frozen = copy_of(split.tree)
        freeze_time(frozen, frozen_at, facts)
        return measure_series(self._session, series_call(frozen, candidate))
