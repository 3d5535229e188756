"""Which of the sound candidates is taken, by what the server knows of them.

Candidates stand in the order in which they need least to be balanced: series and blocks before
columns, larger relations before smaller ones. The first is taken when it can hardly be beaten;
otherwise a few others are weighed too, and `pgfan.plan.keys` compares them. Before the larger ones
comes the table for whose rows one query would look up others by an index: a chunk of it does its
part of that loop, while a chunk of the looked up one would turn the loop round.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pgfan.plan.keys import CHUNKS, NEARLY, KeyCost, best_of, in_words, is_hot
from pgfan.postgres.cells import read_cells
from pgfan.postgres.chosen import PAGE_BYTES, Chosen, Cut, key_name
from pgfan.postgres.key_bounds import read_key_bounds
from pgfan.postgres.series import MeasuredSeries, measure_series
from pgfan.postgres.target import SMALL_COST
from pgfan.postgres.weighing import Weigher
from pgfan.postgres.worth import further_keys, is_by_value, is_indexed, rows_of, space_of, worse
from pgfan.sql.conflict import WAITS
from pgfan.sql.freeze import freeze_time
from pgfan.sql.reasons import Reason
from pgfan.sql.render import RenderError
from pgfan.sql.rewrite import series_call
from pgfan.sql.tree import copy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.requested import KeyRequest

RANGES = 1000
"""Ranges that a column's values are cut into at most; a chunk is some of them."""
BLOCKS_PER_WORKER_MIN = 16
WEIGHED_MAX = 4
"""Candidates that the server is asked about: each takes some milliseconds."""
Rejected: TypeAlias = "dict[Candidate, tuple[Reason, ...]]"
"""Candidates that are not taken, each with the reasons; filled on the way to the one that is."""
Prepare: TypeAlias = "Callable[[Chosen], Cut]"
"""Raises RenderError for a statement that cannot be written so."""
_NO_SERIES = Reason("series-bounds", "the series has no bounds that can be cut")


class SplitOptions(Struct, frozen=True):
    """What the user said about splitting. `jobs` are the workers that there will be."""

    split: Literal["auto", "always", "never"] = "auto"
    by: KeyRequest | None = None
    atomic: bool = False
    jobs: int = 2
    closely: bool = False
    """Whether small statements are analysed to the end, to show what speaks against a split."""


class Option(Struct, frozen=True):
    """A candidate with about so many rows; `read` asks the server how it can be cut."""

    candidate: Candidate
    rows: float
    read: Callable[[], Chosen | Reason]


class Choice(Struct, frozen=True):
    """What is taken; `cost` is None when nothing had to be compared.

    `notes` are what people should know of it.
    """

    cut: Cut
    cost: KeyCost | None = None
    notes: tuple[Reason, ...] = ()


class Chooser:
    """Chooses with a session of its own, which must be at the item's settings."""

    def __init__(self, session: PostgresSession, options: SplitOptions) -> None:
        self._session = session
        self._options = options
        self._weigher = Weigher(session)

    def choose(
        self,
        split: Split,
        facts: CatalogFacts,
        frozen_at: str,
        rejected: Rejected,
        serial: float,
        prepare: Prepare,
        *,
        looks_up_from: str = "",
    ) -> Choice | Reason:
        """The best candidate; `serial` is the cost of one query. Others are put into `rejected`.

        `looks_up_from`: see `pgfan.postgres.explain`.
        """
        wanted = self._wanted(split, rejected)
        if isinstance(wanted, Reason):
            return wanted
        if self._options.split == "auto" and any(one.may_wait for one in wanted):
            return WAITS
        weighed: list[Choice] = []
        reasons: list[Reason] = []
        options = self._options_of(split, wanted, facts, frozen_at)
        options.sort(key=lambda one: self._order(one, facts, looks_up_from))
        for option in options:
            candidate = option.candidate
            why: Choice | Reason
            if weighed and (len(weighed) == WEIGHED_MAX or self._is_enough(weighed, serial)):
                if candidate.is_by_value and any(
                    one.is_beside(candidate) and not one.is_by_value for one in wanted
                ):
                    continue  # blocks will do: its index need not be looked at
                why = worse(option, weighed[0].cut.chosen, facts)
            elif self._lacks_index(candidate, facts, is_first=not weighed):
                name = candidate.stored_as
                why = Reason(
                    "key-not-indexed", f"{name} has no index: every chunk would read all rows"
                )
            else:
                why = self._weighed(option, prepare, serial)
            if isinstance(why, Choice):
                weighed.append(why)
            else:
                rejected[candidate] = (why,)
                reasons.append(why)
        if weighed:
            return self._best(weighed, split, facts, rejected, prepare, serial)
        return reasons[-1] if reasons else _NO_SERIES

    def judge(self, choice: Choice, split: Split, serial: float) -> Choice | Reason:
        """What speaks against a choice; else the choice with its cost and notes."""
        cost = choice.cost
        if cost is None and self._options.split == "auto":
            weighed = self._weigher.weigh(choice.cut)
            if isinstance(weighed, Reason):
                return weighed
            cost = weighed
        if cost is None:
            return self._weigher.objection(choice.cut) or choice
        jobs, candidate = self._options.jobs, choice.cut.chosen.candidate
        notes = []
        weighed_choice = replace(choice, cost=cost)
        dear = self._too_dear(weighed_choice, split, serial)
        if dear is not None:
            if self._options.by is None and self._options.split == "auto":
                return dear
            if candidate.is_by_value and not is_indexed(candidate, choice.cut.facts):
                what = f"{key_name(candidate)} has no index"
                dear = Reason("key-not-indexed", f"{what}: {dear.message}")
            notes.append(dear)
        if candidate.is_by_value and is_hot(cost.largest, jobs):
            share = f"{cost.largest:.0%}"
            why = f"one value or range of {key_name(candidate)} has {share} of the rows"
            notes.append(Reason("hot-value", f"{why}, which stay together in one chunk"))
        return replace(weighed_choice, notes=tuple(notes))

    def _is_enough(self, weighed: list[Choice], serial: float) -> bool:
        """Whether what is known is as good as can be, or the statement is too small to compare."""
        jobs = self._options.jobs
        return serial < SMALL_COST or any(
            one.cost is not None and one.cost.longest(jobs) <= NEARLY * serial / jobs
            for one in weighed
        )

    def _lacks_index(self, candidate: Candidate, facts: CatalogFacts, *, is_first: bool) -> bool:
        """Whether a column has no index, and is not all that there is for one who insists."""
        forced = self._options.split == "always" or self._options.by is not None
        return (
            candidate.is_by_value and not is_indexed(candidate, facts) and not (forced and is_first)
        )

    def _weighed(self, option: Option, prepare: Prepare, serial: float) -> Choice | Reason:
        """What is measured, and weighed when the statement is large enough to compare keys."""
        chosen = option.read()
        if isinstance(chosen, Reason):
            return chosen
        try:
            cut = prepare(chosen)
        except RenderError as error:
            return Reason("deparse", str(error))
        if serial < SMALL_COST:
            return Choice(cut)
        cost = self._weigher.weigh(cut)
        return cost if isinstance(cost, Reason) else Choice(cut, cost)

    def _best(
        self,
        weighed: list[Choice],
        split: Split,
        facts: CatalogFacts,
        rejected: Rejected,
        prepare: Prepare,
        serial: float,
    ) -> Choice:
        jobs = self._options.jobs
        fit = [one for one in weighed if not self._too_dear(one, split, serial)] or weighed
        costs = [one.cost for one in fit if one.cost is not None]
        best = fit[best_of(costs, jobs)] if costs else fit[0]
        for other in weighed:
            if other is not best:
                why = self._too_dear(other, split, serial) if best in fit else None
                rejected[other.cut.chosen.candidate] = (why or _dearer(other, best, jobs),)
        candidate = best.cut.chosen.candidate
        is_lost = self._too_dear(best, split, serial) is not None and self._options.by is None
        if candidate.then or is_lost or not is_hot(best.cut.largest, jobs):
            return best
        for further in further_keys(candidate, split, facts):
            divided = self._weighed(self._column(further, facts), prepare, serial)
            if not isinstance(divided, Choice) or divided.cut.largest >= best.cut.largest:
                continue
            if best.cost is None or divided.cost is None:
                return divided
            if best_of([best.cost, divided.cost], jobs):
                return divided
            rejected[further] = (_dearer(divided, best, jobs),)
        return best

    def _too_dear(self, choice: Choice, split: Split, serial: float) -> Reason | None:
        """Why one query is better than a choice, if it is."""
        by_value = is_by_value(choice.cut.chosen.candidate, split)
        cost, jobs = choice.cost, self._options.jobs
        if cost is None or not cost.is_too_dear(serial, jobs, by_value=by_value):
            return None
        times = cost.together(CHUNKS if by_value else jobs) / max(serial, 1)
        return Reason("too-dear", f"by EXPLAIN the chunks cost {in_words(times)} one query")

    def _wanted(self, split: Split, rejected: Rejected) -> tuple[Candidate, ...] | Reason:
        """The candidates that the user asks for; all of them when nothing is asked for."""
        by = self._options.by
        if by is None:
            return split.candidates
        found, unsound = [], []
        for first in (*split.candidates, *split.rejected):
            if not by.means(first):
                continue
            parts = [first]
            for number in range(1, len(by.parts)):
                beside = (*split.candidates, *split.rejected)
                parts += [one for one in beside if by.means(one, number) and one.is_beside(first)]
            if len(parts) < max(1, len(by.parts)):
                continue
            against = [reason for part in parts for reason in split.rejected.get(part, ())]
            if against:
                unsound += against
            else:
                found.append(replace(first, then=tuple(parts[1:])))
        for one in split.candidates:
            if not by.means(one):
                rejected[one] = (Reason("not-best", f"--by {by.text}"),)
        if found:
            return tuple(found)
        return unsound[0] if unsound else Reason("key-not-found", f"nothing to split by {by.text}")

    def _options_of(
        self, split: Split, wanted: tuple[Candidate, ...], facts: CatalogFacts, frozen_at: str
    ) -> list[Option]:
        """Each with its rows."""
        found = []
        for candidate in wanted:
            if candidate.is_by_value:
                found.append(self._column(candidate, facts))
            elif candidate.key == "series":
                series = self.measure(split, candidate, facts, frozen_at)
                chosen = Chosen(candidate, series) if series is not None else _NO_SERIES
                rows = float(series.count) if series is not None else 0.0
                found.append(Option(candidate, rows, partial(_same, chosen)))
            else:
                rows = rows_of(candidate, facts)
                found.append(Option(candidate, rows, partial(_same, Chosen(candidate))))
        return found

    def _order(
        self, option: Option, facts: CatalogFacts, looks_up_from: str
    ) -> tuple[bool, bool, bool, float]:
        """Series and blocks, then columns with an index, then others.

        In each, what looks others up, then most rows first.
        """
        candidate = option.candidate
        by_value = candidate.is_by_value
        others = not looks_up_from or looks_up_from != candidate.alias[-1]
        if not others and candidate.key == "ctid":  # few blocks cannot be shared out evenly
            least = PAGE_BYTES * BLOCKS_PER_WORKER_MIN * self._options.jobs
            others = facts.relations[candidate.relation or ()].size_bytes < least
        lacks_index = by_value and not is_indexed(candidate, facts)
        return by_value, lacks_index, others, -option.rows

    def _column(self, candidate: Candidate, facts: CatalogFacts) -> Option:
        return Option(candidate, rows_of(candidate, facts), partial(self._bounds, candidate, facts))

    def _bounds(self, candidate: Candidate, facts: CatalogFacts) -> Chosen | Reason:
        if candidate.key == "cells":
            return self._cells(candidate, facts)
        try:
            bounds = read_key_bounds(self._session, candidate, facts, RANGES)
        except ValueError as error:
            return Reason("key-not-found", str(error))
        if bounds.total > 1 or self._options.split == "always":
            return Chosen(candidate, bounds=bounds)
        why = f"{key_name(candidate)} has too few values to be cut into ranges"
        return Reason("key-not-found", why)

    def _cells(self, candidate: Candidate, facts: CatalogFacts) -> Chosen | Reason:
        relation, name = facts.relations[candidate.relation or ()], candidate.stored_as or ""
        found = read_cells(self._session, relation, name, space_of(candidate, facts), RANGES)
        if self._options.split == "always" or not found.is_one:
            return Chosen(candidate, cells=found)
        return Reason("key-not-found", f"{name} has too few places to be cut into cells")

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


def _same(chosen: Chosen | Reason) -> Chosen | Reason:
    return chosen


def _dearer(other: Choice, best: Choice, jobs: int) -> Reason:
    """Why `best` was taken, in the planner's units."""
    if other.cost is None or best.cost is None:
        return Reason("not-best", f"{key_name(best.cut.chosen.candidate)} does as well")
    costs = [f"{one.cost.longest(jobs):,.0f}" for one in (other, best) if one.cost is not None]
    name = key_name(best.cut.chosen.candidate)
    why = f"by EXPLAIN the longest of {jobs} workers would cost {costs[0]}; by {name} {costs[1]}"
    return Reason("not-best", why)
