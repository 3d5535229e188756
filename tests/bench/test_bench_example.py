"""`pgfan bench example` from the command line, with few rows. No speed is asserted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from command_line import pgfan
from psycopg.conninfo import make_conninfo

from pgfan.bench.sections import DATABASE, SECTIONS
from pgfan.bench.ways import WAYS

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer


def exists(dsn: str, database: str) -> bool:
    query = "SELECT FROM pg_database WHERE datname = %s"
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, [database]).fetchone() is not None


@pytest.mark.long
def test_every_way_and_every_section_is_in_the_table_and_in_the_json(
    made18: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bench.json"

    done = pgfan(
        *("bench", "example", "--rows", "2000", "--repeat", "1"),
        *("--embedded", str(made18), "--json", str(file)),
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert tuple(found["sections"]) == SECTIONS
    assert found["failures"] == []
    assert found["machine"]["settings"]["fsync"] == "on"
    results = found["sections"]["example"]["results"]
    places = [(result["table"], result["way"]) for result in results]
    assert places == [(table, way.name) for table in ("logged", "unlogged") for way in WAYS]
    for result in results:
        assert result["errors"] == []
        assert len(result["seconds"]) == len(result["server_cpu_seconds"]) == 1
        assert result["ratio_median"] > 0
        assert result["title"] in done.stdout
    assert set(found["sections"]["example"]["pgfan_against_best_pool"]) == {"logged", "unlogged"}
    assert found["sections"]["chunks"]["chunks"] == 2_000
    assert {pair["statement"] for pair in found["sections"]["overhead"]["results"]} >= {"SELECT 1"}
    assert "order by seed 1" in done.stdout
    assert not (made18 / "data" / "postmaster.pid").exists()


def test_a_running_server_is_used_and_left_as_it_was(server18: EmbeddedServer) -> None:
    done = pgfan(
        *("bench", "example", "-d", server18.dsn, "--rows", "100", "--repeat", "2"),
        *("--only", "pgfan,pool-4", "--sections", "example", "--seed", "7"),
    )

    assert done.returncode == 0, done.stderr
    assert "order by seed 7" in done.stdout
    assert done.stderr.count("round 2/2") == 4
    assert "one query" not in done.stdout
    assert not exists(server18.dsn, DATABASE)


def test_a_way_that_fails_is_named_and_the_others_go_on(
    server18: EmbeddedServer, tmp_path: Path
) -> None:
    done = pgfan(
        *("bench", "example", "-d", server18.dsn, "--rows", "100", "--repeat", "2"),
        *("--only", "one-query,xargs-16", "--sections", "example"),
        PATH=str(tmp_path),
    )

    assert done.returncode == 1
    assert "error: xargs-16 (logged table) failed in 2 of 2: xargs: No such file" in done.stderr
    assert "one-query" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not exists(server18.dsn, DATABASE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["example", "--rows", "0"], "--rows 0"),
        (["example", "--repeat", "0"], "--repeat 0"),
        (["example", "--only", "pool-3"], "--only 'pool-3'"),
        (["example", "--sections", "example,speed"], "--sections 'speed'"),
        (["example", "-d", "dbname=x", "--embedded", "x"], "two servers"),
        (["example", "--json", "no/such/folder/x.json"], "cannot write"),
        (["exmaple"], "example"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_wrong_arguments_are_refused(arguments: list[str], said: str) -> None:
    done = pgfan("bench", *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_no_comparison_made_is_left_alone(server18: EmbeddedServer) -> None:
    with psycopg.connect(server18.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        try:
            done = pgfan("bench", "example", "-d", server18.dsn, "--rows", "1")
            assert exists(server18.dsn, DATABASE)
        finally:
            connection.execute(f"DROP DATABASE {DATABASE}".encode())

    assert done.returncode == 2
    assert f"a database {DATABASE} that no comparison made" in done.stderr


@pytest.mark.parametrize(
    ("attributes", "hint"),
    [("NOCREATEDB", "CREATEDB"), ("CREATEDB", "pg_checkpoint")],
    ids=["no-createdb", "no-checkpoint"],
)
def test_a_role_that_may_not_is_told_what_it_needs(
    server18: EmbeddedServer, attributes: str, hint: str
) -> None:
    role = f"bench_{attributes.lower()}"
    with psycopg.connect(server18.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN {attributes}".encode())
        try:
            dsn = make_conninfo(server18.dsn, user=role)
            done = pgfan("bench", "example", "-d", dsn, "--rows", "1")
        finally:
            connection.execute(f"DROP ROLE {role}".encode())

    assert done.returncode == 1
    assert hint in done.stderr
    assert not exists(server18.dsn, DATABASE)
