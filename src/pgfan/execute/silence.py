"""A display that shows nothing, for callers who want none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfan.events import Event


class Silence:
    """Implements `pgfan.ports.Progress`."""

    def emit(self, event: Event) -> None:
        """Take it and forget it."""
