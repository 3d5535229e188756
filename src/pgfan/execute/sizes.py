"""What the scheduler is told of a task that has been prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan import messages

if TYPE_CHECKING:
    from pgfan.ports import PreparedTask


def sized(number: int, prepared: PreparedTask) -> messages.Prepared:
    """What the scheduler needs to know of a task."""
    plan, split = prepared.plan, prepared.plan.split
    if prepared.members:
        return messages.Prepared(number, len(prepared.members), prepared.done, in_order=True)
    if split is None:
        pinned_to = 0 if prepared.pinned else None
        return messages.Prepared(number, plan.total, prepared.done, worker=pinned_to)
    parts = tuple(
        messages.PartSize(
            part.total, part.rows_per_unit, part.cost, part.bytes_per_unit, part.expected
        )
        for part in split.parts
    )
    return messages.Prepared(
        number,
        plan.total,
        prepared.done,
        rows_per_unit=split.rows_per_unit,
        parts=parts,
        bytes_per_unit=split.bytes_per_unit,
        expected=split.expected,
        target=split.target,
    )
