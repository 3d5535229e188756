"""One script run by psql and by pgfan, each in a database of its own; then all is compared."""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from conftest import DEBIAN_15
from psycopg import sql

from pgfan import api
from pgfan.report.rows import write_result
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.ports import Result
    from pgfan.postgres.embedded import EmbeddedServer

ENDS = frozenset({"BEGIN\n", "COMMIT\n", "ROLLBACK\n"})
CLEAN = """
SET client_min_messages = warning;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
END $$;
CREATE SCHEMA public"""
SET_ASIDE = """
SET client_min_messages = warning;
SET allow_system_table_mods = on;
DROP SCHEMA IF EXISTS pgfan CASCADE;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP EXECUTE format('ALTER SCHEMA %I RENAME TO %I', name,
        'pg_toast_{number}_' || translate(lower(name), ' ', '_')); END LOOP;
END $$;
CREATE SCHEMA public"""
"""Under names of the system's own: pgfan reads nothing of them, nor do the queries below."""
BRING_BACK = """
SET allow_system_table_mods = on;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^pg_toast_[0-9]'
    LOOP EXECUTE format('ALTER SCHEMA %I RENAME TO %I', name,
        replace(name, 'pg_toast', 'script')); END LOOP;
END $$"""
CATALOGUE = """
SELECT 'relation', c.oid::regclass::text, c.relkind::text, obj_description(c.oid) FROM pg_class c
    WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgfan)'
UNION ALL
SELECT 'column', a.attrelid::regclass::text, a.attname || ' ' || format_type(atttypid, atttypmod),
    a.attnum || ' ' || COALESCE(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgfan)'
        AND a.attnum > 0 AND c.relkind <> 'i'
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), NULL FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgfan)'
UNION ALL
SELECT 'constraint', k.conrelid::regclass::text, pg_get_constraintdef(k.oid), NULL
    FROM pg_constraint k
    WHERE k.connamespace::regnamespace::text !~ '^(pg_|information_schema|pgfan)'
UNION ALL
SELECT 'view', c.oid::regclass::text, pg_get_viewdef(c.oid), NULL FROM pg_class c
    WHERE c.relkind IN ('v', 'm') AND c.relnamespace::regnamespace::text !~ '^(pg_|inf|pgfan)'
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), NULL FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relnamespace::regnamespace::text !~ '^(pg_|inf|pgfan)'
UNION ALL
SELECT 'function', p.oid::regprocedure::text, p.prosrc, NULL FROM pg_proc p
    WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema|pgfan)'
UNION ALL
SELECT 'sequence', format('%I.%I', schemaname, sequencename), last_value::text, NULL
    FROM pg_sequences WHERE schemaname !~ '^(pg_|pgfan)'
ORDER BY 1, 2, 3, 4"""
TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^(pg_|information_schema|pgfan)' ORDER BY 1, 2"""


@dataclass(frozen=True)
class Left:
    """What a script has left behind, and what it said."""

    ok: bool
    said: str
    catalogue: tuple[tuple[str | None, ...], ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def by_psql(dsn: str, script: str) -> Left:
    """Run the script as psql does, to the first error."""
    clean(dsn)
    command = [str(DEBIAN_15.folder / "psql"), "-X", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-"]
    ended = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    # pgfan does not say where a block begins and ends.
    said = "".join(line for line in ended.stdout.splitlines(keepends=True) if line not in ENDS)
    return left(dsn, ok=not ended.returncode, said=said)


def by_pgfan(dsn: str, script: str, jobs: int) -> Left:
    """Run the script out of order, everything split that may be."""
    clean(dsn)
    said = io.StringIO()

    def write(results: Sequence[Result]) -> None:
        for result in results:
            write_result(result, said)

    def echo(text: str) -> None:
        said.write(text)

    def nothing(name: str) -> str:
        raise AssertionError(f"nobody includes {name}")

    program = Program.read_psql([Source("main.sql", script)], {}, nothing)
    options = api.ExecOptions(jobs=jobs, split="always", chunk_rows=7)
    ended = api.run(dsn, program, options, on_result=write, on_echo=echo)
    return left(dsn, ok=ended.ok, said=said.getvalue() if ended.ok else str(ended.error))


def by_exec(dsn: str, script: str) -> Left:
    """Run the statements one after the other, everything split that may be."""
    ended = api.exec(dsn, script, api.ExecOptions(jobs=2, split="always", chunk_rows=7))
    return left(dsn, ok=ended.ok, said=str(ended.error))


def clean(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(CLEAN)


def set_aside(dsn: str, number: int) -> None:
    """Keep what script `number` made out of the sight of the next one, for `dumped`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SET_ASIDE.format(number=number).encode())


def dumped(server: EmbeddedServer, dsn: str) -> list[str]:
    """The lines of pg_dump --schema-only for all that was set aside, and nothing else."""
    clean(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BRING_BACK)
    command = [server.binaries.program("pg_dump"), "--schema-only", "-d", dsn]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # A guard of psql's has another key each time.
    return [line for line in text.splitlines() if "restrict " not in line]


def left(dsn: str, *, ok: bool, said: str) -> Left:
    with psycopg.connect(dsn, autocommit=True) as connection:
        catalogue = tuple(connection.execute(CATALOGUE.encode()).fetchall())
        rows = []
        for schema, name in connection.execute(TABLES).fetchall():
            table = sql.Identifier(schema, name)
            query = sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(table)
            found = tuple(row[0] for row in connection.execute(query).fetchall())
            rows.append((f"{schema}.{name}", found))
    return Left(ok, said, catalogue, tuple(rows))
