"""Whether CREATE TABLE AS gains from a split: a decision by EXPLAIN's figures.

Plain CREATE TABLE AS reads with a parallel plan where it can, writes in one process, and with
wal_level = minimal writes no WAL. A split fills a table that is there already, so every row of a
logged table goes through WAL, and all processes share the one WAL. Costs are in EXPLAIN's units,
about 10 microseconds each. docs/decisions/0008 has the measurements that the constants come from.
"""

from __future__ import annotations

from msgspec import Struct

CREATE_ROW_COST = 0.010
"""To put a row into a table that the same transaction made: 20 million in 2 s."""
INSERT_ROW_COST = 0.017
"""To put a row into another one."""
WAL_ROW_COST = 0.010
"""To log a row; processes that do so at once gain nothing by it."""
BYTE_COST = 0.0002
"""To write a byte of a row, or of its log record: 500 MB/s."""
GAIN_MIN = 1.1
"""How many times as long the plain statement must take."""


class CreationCosts(Struct, frozen=True):
    """Total costs in EXPLAIN's units."""

    plain: float
    split: float

    @property
    def pays(self) -> bool:
        """Whether the split is worth it."""
        return self.split * GAIN_MIN <= self.plain


class CreationEstimate(Struct, frozen=True):
    """What EXPLAIN says of the query, and what is known of server and table.

    `cost` is that of the plan that the plain statement would use, `cost_one` that of the best plan
    for one process; `width` is bytes of a row. `jobs` are the workers of a split.
    """

    cost: float
    cost_one: float
    rows: float
    width: float
    jobs: int
    unlogged: bool
    wal_minimal: bool

    def costs(self) -> CreationCosts:
        """The plain statement and the split one."""
        bytes_cost = self.rows * self.width * BYTE_COST
        logging = 0.0 if self.unlogged else self.rows * WAL_ROW_COST + bytes_cost
        plain = self.cost + self.rows * CREATE_ROW_COST + bytes_cost
        divided = self.cost_one + self.rows * INSERT_ROW_COST + bytes_cost
        return CreationCosts(
            plain + (0.0 if self.wal_minimal else logging), divided / self.jobs + logging
        )
