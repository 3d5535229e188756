"""The scheduler on random graphs, with every kind of trouble in random order.

What `Play` checks at every step: no work that is ready waits while a worker idles, every ordinal is
handed out to one worker at a time and done once, nothing starts before what it waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_model import FAILURES, Run, start

from pgfan.plan import messages, stragglers

if TYPE_CHECKING:
    from random import Random

TROUBLE = sorted(FAILURES | {"unavailable", "drain", "refused", "reopened"})


@st.composite
def runs(draw: st.DrawFn) -> Run:
    count = draw(st.integers(1, 7))
    after = tuple(
        frozenset(draw(st.sets(st.integers(0, at - 1), max_size=2)) if at else ())
        for at in range(count)
    )
    return Run(
        after=after,
        units=draw(st.integers(1, 9)),
        workers=draw(st.integers(1, 6)),
        outcomes=frozenset(draw(st.sets(st.sampled_from(TROUBLE)))),
        trouble_max=draw(st.integers(0, 12)),
        pinned=frozenset(draw(st.sets(st.integers(0, count - 1), max_size=2))),
        keep_going=draw(st.booleans()),
        order_only=frozenset(draw(st.sets(st.integers(0, count - 1), max_size=2))),
        batch_s=draw(st.sampled_from([0.0, 1.0])),
        chunk=draw(st.integers(1, 4)),
    )


@settings(max_examples=300, deadline=None)
@given(runs(), st.randoms(use_true_random=False))
def test_no_ready_work_waits_and_every_ordinal_is_done_once(run: Run, dice: Random) -> None:
    def choose(
        candidates: list[stragglers.Candidate], _idle: int, _now_s: float
    ) -> tuple[stragglers.Rescue | None, float | None]:
        if not candidates or dice.random() < 0.3:
            return None, None
        return stragglers.Rescue(dice.choice(candidates).worker, dice.randint(2, 4)), None

    with patch.object(stragglers, "choose", choose):
        play = start(run)
        for _ in range(2_000):
            moves = [
                (event, cost)
                for event, cost in play.moves()
                if play.trouble + cost <= run.trouble_max
                and not (isinstance(event, messages.Drain) and dice.random() < 0.9)
            ]
            if not moves:
                break
            play.take(*dice.choice(moves))
        assert play.draining or play.scheduler.is_over
