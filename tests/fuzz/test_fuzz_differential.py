"""Random statements on random tables: split by pgfan they leave what one connection leaves.

PGFAN_FUZZ_EXAMPLES and PGFAN_FUZZ_SEED choose how many and which; `make fuzz` runs more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from fuzz_compare import Differential, MismatchError
from fuzz_run import EXAMPLES, SEED, run
from fuzz_statements import Example

from pgfan import api

if TYPE_CHECKING:
    from pgfan.execute.outcome import RunResult

EXAMPLE = Example(
    "insert",
    (
        "CREATE TABLE a (i int)",
        "INSERT INTO a VALUES (1), (1), (NULL)",
        "CREATE TABLE goal (i int)",
    ),
    "INSERT INTO goal SELECT i FROM a",
    "goal",
    "sound by rows",
)


@pytest.mark.timeout(60 + 2 * EXAMPLES)
def test_split_statements_leave_what_one_connection_leaves(dsn: str) -> None:
    print(f"seed {SEED}, {EXAMPLES} examples")  # noqa: T201  # shown when the test fails
    print(run(dsn, EXAMPLES, SEED))  # noqa: T201


@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM goal WHERE ctid = (SELECT min(ctid) FROM goal WHERE i = 1)",
        "INSERT INTO goal VALUES (NULL)",
        "UPDATE goal SET i = 2 WHERE i IS NULL",
        "CREATE TABLE left_over (i int)",
    ],
)
def test_what_a_wrong_split_would_leave_is_noticed(
    dsn18: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = api.exec

    def faulty(dsn: str, *arguments: Any, **named: Any) -> RunResult:  # noqa: ANN401
        result = honest(dsn, *arguments, **named)
        with psycopg.connect(dsn) as connection:
            connection.execute(fault.encode())
        return result

    differential = Differential(dsn18)
    differential.check(EXAMPLE)
    assert differential.tally.outcomes == {"split": 1}
    monkeypatch.setattr(api, "exec", faulty)
    with pytest.raises(MismatchError, match=r"INSERT INTO goal SELECT i FROM a;\n-- insert"):
        differential.check(EXAMPLE)
    differential.close()
