"""Random statements on random tables: split by pgfan they leave what one connection leaves.

PGFAN_FUZZ_STATEMENTS and PGFAN_FUZZ_SEED choose how many and which; `make fuzz` runs more.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fuzz_run
import psycopg
import pytest
from fuzz_compare import Differential, MismatchError
from fuzz_dice import Dice
from fuzz_pool import pooled
from fuzz_run import SEED, STATEMENTS, run
from fuzz_schema import draw_schema
from fuzz_statements import Example, draw_statement
from fuzz_tally import Tally

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


@pytest.mark.long
@pytest.mark.timeout(60 + 2 * STATEMENTS)
def test_split_statements_leave_what_one_connection_leaves(dsn: str) -> None:
    print(f"seed {SEED}, {STATEMENTS} statements")  # noqa: T201  # shown when the test fails
    print(run(dsn, STATEMENTS, SEED).report())  # noqa: T201


def test_a_mismatch_is_shrunk_to_a_small_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __init__(self, _dsn: str) -> None:
            self.tally = Tally()

        def check(self, example: Example) -> None:
            self.tally.compared(example, None, 1)
            if "GROUP BY" in example.statement:
                self.tally.stopped = True
                raise MismatchError(example.statement)

        def close(self) -> None:
            pass

    monkeypatch.setattr(fuzz_run, "Differential", Wrong)
    with pytest.raises(MismatchError) as caught:
        run("", 300, 1)
    assert str(caught.value).startswith("INSERT INTO goal")
    assert len(str(caught.value)) < 200


def test_statements_on_one_schema_find_it_as_the_first_one_did(dsn18: str) -> None:
    differential, dice = Differential(dsn18), Dice(random.Random(5).randint)  # noqa: S311
    with pooled():
        schema = draw_schema(dice)
        examples = [draw_statement(dice, schema) for _ in range(12)]
        differential.reset(examples[0])
        tables = [table.name for table in (*schema.tables, schema.goal)]
        begun = [differential.state(table) for table in tables]
        for example in examples:
            differential.check(example)
        differential.reset(replace(examples[0], added=()))
        assert [differential.state(table) for table in tables] == begun
    assert differential.tally.total == len(examples)
    assert {example.target for example in examples} > {"goal", "made"}
    differential.close()


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
