"""The system's clock, as `pgfan.ports.Clock`."""

from __future__ import annotations

import time


class MonotonicClock:
    """Implements `pgfan.ports.Clock`."""

    def now_s(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()
