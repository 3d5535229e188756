"""`pgfan demo` from the command line, with few rows: what it prints and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from command_line import pgfan
from psycopg.conninfo import make_conninfo

from pgfan.bench import demo, flights, ways
from pgfan.errors import PgfanError
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pgfan.bench.site import Site

FLIGHTS = 336_776
LIMIT_S = 120


def databases(folder: Path) -> set[str]:
    with EmbeddedServer(folder) as server, psycopg.connect(server.dsn) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def is_stopped(folder: Path) -> bool:
    return not (folder / "data" / "postmaster.pid").exists()


def run_in_process(folder: Path, texts: list[str]) -> demo.DemoResult:
    return demo.run_demo(
        folder, 2_000, keep=False, show=False, say=lambda _: None, write=texts.append
    )


def test_the_demo_end_to_end_and_once_more_over_kept_tables(made18: Path) -> None:
    kept = pgfan("demo", "--rows", "2000", "--embedded", str(made18), "--keep", "--json")

    assert kept.returncode == 0, kept.stderr
    result = json.loads(kept.stdout)
    assert [found["way"] for found in result["numbers"]] == ["one-query", "pool-script", "pgfan"]
    assert {found["rows"] for found in result["numbers"]} == {2_000}
    assert result["numbers"][0]["ratio"] == 1.0
    assert result["flights"]["rows"] == FLIGHTS
    assert result["flights"]["differences"] == 0
    assert is_stopped(made18)
    with EmbeddedServer(made18) as server:
        dsn = make_conninfo(server.dsn, dbname=demo.DATABASE)
        with psycopg.connect(dsn) as connection:
            for table, rows in {"numbers": 2_000, flights.SPLIT: FLIGHTS}.items():
                found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
                assert found == (rows,)

    again = pgfan("demo", "--rows", "2000", "--embedded", str(made18))

    assert again.returncode == 0, again.stderr
    lines = again.stdout.splitlines()
    for title in ("one query", "pool script, 16 queries", "pgfan exec"):
        assert any(line.startswith(title) and "2,000" in line for line in lines), again.stdout
    assert "Every table was counted: 2,000 rows each." in lines
    assert "The two tables hold the same rows: EXCEPT ALL, both ways, finds 0 rows." in lines
    assert "3/3 pgfan exec" in again.stderr
    assert is_stopped(made18)
    assert demo.DATABASE not in databases(made18)


def test_without_the_package_of_flights_the_demo_says_how_to_get_it(
    made18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "PACKAGE", "a_package_that_nobody_has")
    texts: list[str] = []

    result = run_in_process(made18, texts)

    assert result.flights is None
    assert result.to_json()["flights"] is None
    assert "pip install 'pgfan[demo]'" in "".join(texts)


def test_a_way_that_fails_is_named(made18: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "POOL_SCRIPT", Path("no_such_script.py"))

    with pytest.raises(PgfanError, match=r"pool script, 16 queries failed: .*no_such_script"):
        run_in_process(made18, [])

    assert is_stopped(made18)


def test_a_wrong_count_is_a_failure(made18: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ways.Work.insert
    monkeypatch.setattr(
        ways.Work,
        "insert",
        property(lambda work: plain.__get__(work).replace("(1, ", "(2, ")),
    )

    with pytest.raises(PgfanError, match="one query failed: the table holds 1,999 rows, not 2,000"):
        run_in_process(made18, [])


def test_tables_that_differ_are_a_failure(made18: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = flights._build

    def build(
        site: Site, table: str, command: list[str], *, show: bool = False
    ) -> tuple[float, str]:
        done = real(site, table, command, show=show)
        if table == flights.SPLIT:
            site.control.execute(f"DELETE FROM {table} WHERE flight = 1545")
        return done

    monkeypatch.setattr(flights, "_build", build)

    with pytest.raises(PgfanError, match="the two tables of flights differ in"):
        run_in_process(made18, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_demo_leaves_no_server(made18: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "pgfan", "demo", "--embedded", str(made18)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("1/3 one query ..."):
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=LIMIT_S) == 130, rest

    assert "interrupted" in rest
    assert is_stopped(made18)
    assert demo.DATABASE not in databases(made18)


@pytest.mark.parametrize("rows", ["0", "-5", "many", "1000000000001"])
def test_rows_that_make_no_sense_are_refused(tmp_path: Path, rows: str) -> None:
    done = pgfan("demo", f"--rows={rows}", "--embedded", str(tmp_path / "server"))

    assert done.returncode == 2
    assert "rows" in done.stderr
    assert not (tmp_path / "server").exists()


def test_the_package_of_flights_is_read_and_not_imported() -> None:
    data = flights.find_data()

    assert data is not None
    assert (data / "airports.csv").is_file()
    assert flights.PACKAGE not in sys.modules
    loaded = "from pgfan.bench import flights; flights.find_data(); import sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pgfan.bench.flights" in modules
    assert "pandas" not in modules
