"""The parts of the comparisons that need no server, and those that need only a glance at one."""

from __future__ import annotations

import io
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pgfan.bench.command import interruptible, run_command
from pgfan.bench.example import ExampleResult, Series
from pgfan.bench.machine import server_cpu_s
from pgfan.bench.overhead import OverheadPair
from pgfan.bench.pool_script import make_queries
from pgfan.bench.site import given_site
from pgfan.bench.tables import aligned
from pgfan.bench.ways import ONE_QUERY, PGFAN_EXEC, Measurement, PgfanTask, Way, Work
from pgfan.errors import UsageError

if TYPE_CHECKING:
    from pgfan.postgres.embedded import EmbeddedServer

POOL_2, POOL_4 = Way("pool-2", "pool", 2), Way("pool-4", "pool", 4)


def series(way: Way, *times: float | None) -> Series:
    runs = [
        Measurement(way.name, seconds or 0.0, 1, 0.0, None, None if seconds else "broken")
        for seconds in times
    ]
    return Series(way, Work(100), runs)


def test_ratios_are_made_within_a_round() -> None:
    one = series(ONE_QUERY, 10.0, 20.0, 30.0)
    ours = series(PGFAN_EXEC, 5.0, None, 10.0)

    assert ours.times_of(one) == [2.0, 3.0]
    assert ExampleResult(1, 2, (one, ours)).baseline(ours) is one


def test_pgfan_is_held_against_the_pool_script_with_the_best_median() -> None:
    result = ExampleResult(
        1,
        2,
        (series(POOL_2, 8.0, 1.0, 8.0), series(POOL_4, 7.0, 6.0, 7.0), series(PGFAN_EXEC, 7, 6, 7)),
    )

    best = result.against_best_pool(Work(100))

    assert best is not None
    assert best[0].way == POOL_4
    assert best[1] == 1.0
    assert result.against_best_pool(Work(100, unlogged=True)) is None


def test_a_way_that_never_worked_has_no_figures() -> None:
    result = ExampleResult(1, 2, (series(POOL_2, None, None), series(PGFAN_EXEC, 1.0, 1.0)))

    assert result.failures == ["pool-2 (logged table) failed in 2 of 2: broken"]
    assert "failed" in result.to_text().splitlines()[2]
    assert result.to_json()["results"][0]["seconds"] == [None, None]
    assert result.against_best_pool(Work(100)) is None


def test_overhead_is_the_median_of_differences() -> None:
    pair = OverheadPair("SELECT 1", psql_s=[1.0, 2.0, 3.0], pgfan_s=[1.5, 2.1, 3.3])

    assert pair.added_s == pytest.approx(0.3)
    assert pair.added_share == pytest.approx(0.15)


@pytest.mark.parametrize(("rows", "queries"), [(10, 3), (2, 5), (20_000_000, 200)])
def test_the_pool_script_makes_all_rows(rows: int, queries: int) -> None:
    texts = make_queries(rows, queries)
    sizes = [int(text.rpartition(", ")[2].rstrip(")")) for text in texts]

    assert len(sizes) == queries
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1


def test_what_pgfan_says_of_its_statement_is_read() -> None:
    output = (
        '{"tasks": [{"verdict": "serial", "chunks": 1, "seconds": 0.5, '
        '"reasons": [{"code": "small", "message": "too small"}]}]}'
    )

    assert PgfanTask.read(output) == PgfanTask("serial", 1, 0.5, ("too small",))


def test_a_table_is_aligned() -> None:
    text = aligned(("way", "seconds"), [("one query", "9.50"), ("pgfan", "10.25")])

    assert (
        text == "way        seconds\n---------  -------\none query     9.50\npgfan        10.25\n"
    )


def test_a_command_is_fed_timed_and_heard() -> None:
    code = "import sys; print(sys.stdin.read()); sys.stderr.write('a\\n\\nb\\n'); sys.exit(3)"

    outcome = run_command([sys.executable, "-c", code], stdin=io.BytesIO(b"in"))

    assert (outcome.code, outcome.output, outcome.complaint) == (3, "in\n", "a\nb")
    assert outcome.cpu_s > 0
    assert outcome.seconds > 0


def test_a_command_that_does_not_listen_is_no_error_of_its_own() -> None:
    outcome = run_command([sys.executable, "-c", ""], stdin=io.BytesIO(b"x" * 1_000_000))

    assert outcome.code == 0


def test_a_command_that_takes_too_long_is_ended() -> None:
    outcome = run_command(["sleep", "60"], limit_s=0.2)

    assert outcome.code == -signal.SIGKILL
    assert outcome.complaint == "ended after 0 s"


def test_a_second_signal_does_not_cut_off_the_clean_up() -> None:
    cleaned = False

    def work() -> None:
        nonlocal cleaned
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned = True

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        work()

    assert cleaned
    assert signal.getsignal(signal.SIGINT) is before


def test_a_servers_cpu_time_counts_what_its_backends_use(server18: EmbeddedServer) -> None:
    before_s = server_cpu_s(server18.pid)
    with given_site(server18.dsn, "pgfan_cpu_test") as site:
        site.value("SELECT count(*) FROM generate_series(1, 1000000)")
    after_s = server_cpu_s(server18.pid)

    assert before_s is not None
    assert after_s is not None
    assert after_s > before_s
    assert server_cpu_s(None) is None


def test_one_database_is_for_one_comparison_at_a_time(server18: EmbeddedServer) -> None:
    with (
        given_site(server18.dsn, "pgfan_busy_test"),
        pytest.raises(UsageError, match="in use"),
        given_site(server18.dsn, "pgfan_busy_test"),
    ):
        pytest.fail("both got it")
