r"""Scripts read by psql itself and by pgfan: the same statements and the same words come out."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import DEBIAN_15

from pgfan.sql.psql_script import read_psql

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer

SCRIPTS = {
    "quotes": "SELECT 'a;''b', E'c\\';\\\\d', $$e;'f$$, $x$ $$ $x$, \"length\"('\\');",
    "strings that go on": "SELECT E'a'\n'\\'b';\nSELECT 'a'\n'b';",
    "comments": "/* a; /* b */ ; */ SELECT 1 /* ' */ -- \" ;\n, 2; -- c",
    "names": 'SELECT 1 AS a$b, 2 AS "c;""d", 3 AS e, \'x\' AS ü;',
    "variables": (
        "\\set a 1 2 '+ 3'\n\\set b 'it''s \\\\ \\t\\x41'\n\\set c :a\n\\set d length\n"
        "SELECT :a, :'a', :'b', :'c', :\"d\"('xyz'), :{?a}, :{?z}, '1'::int;\n"
        "\\echo :a :'b' :\"d\" ':a' \":a\" :{?a} :z x:a:a\n"
        "\\unset a\nSELECT :{?a};\n\\echo :a\n"
    ),
    "statements and commands in values": (
        "\\set a 'SELECT 1; SELECT (2' ', 3)'\n:a;\n\\set d ';e'\n\\set b '\\\\echo c :d'\n:b f\n"
        "\\set g '\\\\echo h \\\\\\\\ SELECT 4'\nSELECT 5; :g, 6;\n\\set i :g '; \\\\if 0'\n"
        ":i\nSELECT 7;\n\\endif\n\\set j 'x;y'\nSELECT :'j', ':j', length(':j');"
    ),
    "slices": "SELECT (ARRAY[1, 2, 3])[1:2], (ARRAY[4, 5])[1\\:1];",
    "echo": "\\echo a   b 'c  d' \"e  f\"\n\\echo -n 'no end'\n\\qecho ' x' \\\\ SELECT 1;\n",
    "if": (
        "\\if yes\nSELECT 1;\n\\elif 1\nSELECT 2;\n\\else\nSELECT 3;\n\\endif\n"
        "\\if of\nSELECT 4; \\echo 5\n\\elif TRU\n\\if 0\n\\echo 6\n\\else\n\\echo 7\n\\endif\n"
        "\\else\nSELECT 8;\n\\endif\n"
    ),
    "go and forget": "SELECT 1 \\g\nSELECT 2\n\\r\nSELECT 3;SELECT\n4",
    "cells": "SELECT 'SELECT 5', NULL, 'SELECT 6' \\gexec\nSELECT 7;",
    "includes": "\\i part.sql\n\\ir part.sql\nSELECT 2;",
    "quit": "SELECT 1; \\q\nSELECT 2;",
    "bodies": (
        "CREATE FUNCTION pg_temp.f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 8 END; "
        "END; SELECT pg_temp.f();"
    ),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=list(SCRIPTS))
def test_psql_reads_alike(server: EmbeddedServer, tmp_path: Path, script: str) -> None:
    (tmp_path / "main.sql").write_text(script, "utf-8")
    (tmp_path / "part.sql").write_text("SELECT 'part;';\n\\set p 1\n", "utf-8")
    psql = DEBIAN_15.folder / "psql"
    command = [str(psql), "-X", "-q", "-A", "-t", "-f", "main.sql", "-d", server.dsn]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not ended.stderr
    assert said_by_pgfan(server.dsn, script, tmp_path) == ended.stdout


def said_by_pgfan(dsn: str, script: str, folder: Path) -> str:
    def fetch(name: str) -> str:
        return (folder / name).read_text("utf-8")

    found = read_psql([("main.sql", script)], {}, fetch)
    said: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for item in found.items:
            statement = item.first
            said += statement.echoes
            cells = rows_of(connection, statement.text)
            if statement.generates:
                texts = [cell for row in cells for cell in row if cell]
                cells = [row for text in texts for row in rows_of(connection, text)]
            said += ("|".join(row) + "\n" for row in cells)
    return "".join((*said, *found.ends_with))


def rows_of(connection: psycopg.Connection, sql: str) -> list[list[str]]:
    result = connection.pgconn.exec_(sql.encode())
    assert not result.error_message, result.error_message
    return [
        [(result.get_value(row, column) or b"").decode() for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]
