"""Files loaded by many connections against COPY by one: the same rows, and no half of a file."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
from typing import TYPE_CHECKING, Literal

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan import api
from pgfan.cli.running import show_error
from pgfan.errors import PgfanError, ResumeRefusedError, UsageError
from pgfan.load.copy_options import CopyOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfan.events import Event
    from pgfan.execute.outcome import RunResult

NASTY = ["", " ", "a,b", 'q"q', "line\nend", "cr\r\nlf", "\\.", "\\N", "é€", "\t", "'", "x" * 300]
TABLE = "CREATE TABLE t (id int, name text, amount numeric)"


class Heard:
    """A display that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


def load(dsn: str, *files: Path, heard: Heard | None = None, **options: object) -> RunResult:
    """Load in pieces of 64 bytes, two at least to a chunk, on three connections."""
    chosen = {"jobs": 3, "piece_bytes": 64, "chunk_rows": 20_000, **options}
    return api.load(
        dsn,
        list(files),
        "t",
        api.LoadOptions(**chosen),  # type: ignore[arg-type]
        progress=heard or Heard(),
    )


def rows(dsn: str, query: str = "TABLE t") -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return sorted(connection.execute(query.encode()).fetchall(), key=repr)


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def copied(dsn: str, raw: bytes, options: str) -> list[tuple[object, ...]]:
    """What COPY by one connection makes of the bytes."""
    run(dsn, "CREATE TABLE alone (LIKE t)")
    command = f"COPY alone FROM STDIN WITH ({options})".encode()
    with psycopg.connect(dsn) as connection, connection.cursor().copy(command) as copy:
        copy.write(raw)
    return rows(dsn, "TABLE alone")


def nasty_csv(count: int, terminator: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=terminator, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["id", "name", "amount"])
    for number in range(count):
        writer.writerow([number, NASTY[number % len(NASTY)], number / 4])
    return text.getvalue().encode()


@pytest.mark.parametrize("pack", ["data.csv", "data.csv.gz"])
@pytest.mark.parametrize("terminator", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_the_rows_are_those_of_one_copy(
    dsn18: str, tmp_path: Path, pack: str, terminator: str
) -> None:
    run(dsn18, TABLE)
    raw = nasty_csv(300, terminator)
    path = tmp_path / pack
    path.write_bytes(gzip.compress(raw) if pack.endswith("gz") else raw)
    result = load(dsn18, path)
    assert result.ok, result.error
    assert result.tasks[0].rows == 300
    assert result.tasks[0].chunks > 5
    assert rows(dsn18) == copied(dsn18, raw, "FORMAT csv, HEADER")


def test_text_files_and_dialects_on_each_server(dsn: str, tmp_path: Path) -> None:
    run(
        dsn,
        TABLE,
        "CREATE TABLE s AS SELECT g AS id, E'a\\tb\\\\c\\n' || g AS name, g/3.0 AS a "
        "FROM generate_series(1, 200) g",
    )
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for name, options in {
            "one.txt": "FORMAT text",
            "two.csv": "FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', ESCAPE '\\'",
        }.items():
            with cursor.copy(f"COPY s TO STDOUT WITH ({options})".encode()) as copy:
                (tmp_path / name).write_bytes(b"".join(copy))
    assert load(dsn, tmp_path / "one.txt").ok
    dialect = CopyOptions(delimiter=";", quote="'", escape="\\", header=True)
    assert load(dsn, tmp_path / "two.csv", copy=dialect, columns=("id", "name", "amount")).ok
    assert rows(dsn) == rows(dsn, "TABLE s UNION ALL TABLE s")


def test_a_folder_of_many_files_with_columns_in_any_order(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, TABLE)
    for number in range(60):
        text = f"id,name,amount\n{number},n,1\n" if number % 2 else f"NAME,amount,id\nn,1,{number}"
        (tmp_path / f"{number}.csv").write_text(text)
    result = load(dsn18, tmp_path, chunk_rows=200_000)
    assert result.ok
    assert result.tasks[0].chunks < 30
    assert rows(dsn18, "SELECT id FROM t") == sorted(((n,) for n in range(60)), key=repr)


def test_empty_and_header_only_files_load_nothing(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, TABLE)
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "b.csv").write_bytes(b"id,name,amount\n")
    (tmp_path / "c.csv").write_bytes(b"\xef\xbb\xbfid,name,amount\n1,x,2")
    result = load(dsn18, tmp_path)
    assert result.ok
    assert [tuple(map(str, row)) for row in rows(dsn18)] == [("1", "x", "2")]


@pytest.mark.parametrize(
    ("bad", "place", "reason"),
    [
        (b"x,b,1\n", ":52, column id: 'x'", "invalid input syntax for type integer"),
        (b"9999999999,b,1\n", ":52, column id: '9999999999'", "out of range for type integer"),
        (b"7,b,1e999999\n", ":52, column amount: '1e999999'", "overflow"),
        (b"NULL,b,1\n", ":52, column id: 'NULL'", "invalid input syntax for type integer"),
        (b'7,"a\nb",z\n', ":53, column amount: 'z'", "invalid input syntax for type numeric"),
        (b"7,b\n", ":52", "missing data for column"),
        (b"7,b,1,2\n", ":52", "extra data after last expected column"),
        (b"7,\xff,1\n", ":52", "invalid byte sequence"),
        (b"7,a\0b,1\n", ":52", "invalid byte sequence"),
    ],
    ids=[
        "type",
        "overflow",
        "too large",
        "a spelling of NULL",
        "two lines",
        "short",
        "long",
        "encoding",
        "NUL",
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(
    dsn: str, tmp_path: Path, bad: bytes, place: str, reason: str
) -> None:
    run(dsn, TABLE)
    path = tmp_path / "data.csv"
    path.write_bytes(b"id,name,amount\n" + b"1,a,2\n" * 50 + bad + b"1,a,2\n" * 50)
    result = load(dsn, path)
    assert not result.ok
    assert result.error is not None
    assert f"data.csv{place}" in result.error.message
    assert reason in result.error.message
    ((count,),) = rows(dsn, "SELECT count(*) FROM t")
    assert count == rows(dsn, "SELECT COALESCE(sum(rows), 0)::bigint FROM pgfan.chunk")[0][0]


def test_rejected_rows_go_to_a_file_and_the_counts_add_up(dsn: str, tmp_path: Path) -> None:
    run(
        dsn,
        "CREATE TABLE k (i int PRIMARY KEY)",
        "INSERT INTO k VALUES (1)",
        "CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric CHECK (amount < 1000), "
        "k int REFERENCES k)",
    )
    lines = [f'{n},"a\n{n}",1,1' for n in range(200)]
    lines[17] = "17,a,5000,1"  # a check
    lines[50] = "50,a,1,2"  # a foreign key, for which COPY names no line
    lines[51] = "51,a,1,3"
    lines[90] = "x,a,1,1"
    lines[91] = "92,first or second,1,1"  # one of two rows with a key
    path, reject = tmp_path / "data.csv", tmp_path / "bad.csv"
    path.write_text("id,name,amount,k\n" + "\n".join(lines))
    heard = Heard()
    result = load(dsn, path, reject=reject, heard=heard)
    assert result.ok, result.error
    assert result.tasks[0].rows == 195
    assert result.to_json()["tasks"][0]["rejected"] == 5
    told = [event.text for event in heard.events if hasattr(event, "text")]
    assert any("200 rows read = 195 loaded + 5 rejected" in text for text in told), told
    with reject.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {one["sqlstate"] for one in found} == {"23514", "23503", "22P02", "23505"}
    assert {one["row"] for one in found} >= {lines[17], lines[50], lines[51], lines[90]}
    numbers = {int(one["file"].rpartition(":")[2]) for one in found}
    assert {2 + 2 * 17, 2 + 2 * 50 - 1} <= numbers
    assert rows(dsn, "SELECT count(*) FROM t") == [(195,)]


def test_a_reject_file_that_cannot_be_written_does_not_end_the_load(
    dsn18: str, tmp_path: Path
) -> None:
    run(dsn18, TABLE)
    path, reject = tmp_path / "data.csv", tmp_path / "bad.csv"
    path.write_text("1,a,1\n" * 20 + "x,a,1\n")
    reject.mkdir()
    heard = Heard()
    result = load(dsn18, path, reject=reject, heard=heard)
    assert result.ok, result.error
    told = [event.text for event in heard.events if hasattr(event, "text")]
    assert any("the bad rows are in the journal" in text for text in told), told
    assert (result.tasks[0].rows, result.tasks[0].rejected) == (20, 1)
    assert rows(dsn18, "SELECT count(*) FROM pgfan.reject") == [(1,)]


def test_dates_and_infinities_are_what_the_column_takes(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, "CREATE TABLE t (d date, f float8)")
    path = tmp_path / "data.csv"
    path.write_text("d,f\ninfinity,-Infinity\n2024-02-29,NaN\n")
    assert load(dsn18, path).ok
    path.write_text("d,f\n2024-02-29,1\n0000-00-00,1\n")
    error = load(dsn18, path).error
    assert error is not None
    assert "data.csv:3, column d: '0000-00-00': date/time field value out of range" in error.message


def test_names_of_files_with_escapes_are_shown_as_text(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, TABLE)
    path = tmp_path / "a'b [red]\x1b[31m.csv"
    path.write_text("1,a,1\nx,a,1\n")
    error = load(dsn18, path).error
    assert error is not None
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        show_error(error)
    assert "\x1b" not in shown.getvalue()
    assert "[red]" in shown.getvalue()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (pa.table({"id": [2], "named": ["b"], "amount": [1]}), "'named'"),
        (pa.table({"id": ["two"], "name": ["b"], "amount": [1]}), "invalid input syntax"),
    ],
    ids=["a column", "a type"],
)
def test_parquet_files_that_drift_apart_are_named(
    dsn18: str, tmp_path: Path, second: pa.Table, message: str
) -> None:
    run(dsn18, TABLE)
    pq.write_table(pa.table({"id": [1], "name": ["a"], "amount": [1]}), tmp_path / "1.parquet")
    pq.write_table(second, tmp_path / "2.parquet")
    said = ""
    try:
        error = load(dsn18, tmp_path).error
        said = error.message if error is not None else ""
    except UsageError as refused:
        said = refused.message
    assert "2.parquet" in said
    assert message in said


def test_too_many_bad_rows_fail_the_load(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, TABLE)
    path = tmp_path / "data.csv"
    path.write_text("1,a,1\n" * 20 + "x,a,1\n" * 9)
    result = load(dsn18, path, reject=tmp_path / "bad.csv", max_rejects=5)
    assert result.error is not None
    assert "more than 5 bad rows" in result.error.message


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,name,amount,more", "'more'"),
        ("id,amount,id", "twice"),
        ("id,amount", "no 'name'"),
        ("id,name,amount,sum", "generates by itself"),
    ],
)
def test_columns_that_do_not_match_are_refused(
    dsn18: str, tmp_path: Path, header: str, message: str
) -> None:
    run(
        dsn18,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, name text, amount numeric, "
        "sum numeric GENERATED ALWAYS AS (amount + 1) STORED)",
    )
    path = tmp_path / "data.csv"
    path.write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(UsageError, match=message):
        load(dsn18, path)
    assert rows(dsn18, "SELECT to_regclass('pgfan.run')") == [(None,)]


def test_a_changed_file_is_refused_and_a_mended_one_begins_anew(dsn18: str, tmp_path: Path) -> None:
    run(dsn18, TABLE)
    path = tmp_path / "data.csv"
    path.write_text("1,a,1\n" * 200 + "x,a,1\n")
    assert not load(dsn18, path, jobs=1).ok
    assert rows(dsn18, "SELECT count(*) > 0 FROM t") == [(True,)]
    path.write_text("1,a,1\n" * 201)
    failed = load(dsn18, path, jobs=1)
    assert failed.error is not None
    assert "was changed since the load began" in failed.error.message
    run(dsn18, "TRUNCATE t")
    assert load(dsn18, path, restart=True).ok
    assert rows(dsn18, "SELECT count(*) FROM t") == [(201,)]


def test_bad_rows_are_put_aside_from_a_load_that_they_have_ended(dsn: str, tmp_path: Path) -> None:
    run(dsn, TABLE)
    path, reject = tmp_path / "data.csv", tmp_path / "bad.csv"
    path.write_text("".join(f"{n},a,1\n" for n in range(300)) + "x,a,1\n" * 2)
    failed = load(dsn, path, jobs=1)
    assert not failed.ok
    heard = Heard()
    result = load(dsn, path, reject=reject, jobs=1, max_rejects=0, heard=heard)
    assert result.error is not None
    assert "more than 0 bad rows" in result.error.message
    told = [event.text for event in heard.events if hasattr(event, "text")]
    assert any("rows of other ranges stay in the table" in text for text in told), told
    assert not any("xmin" in text for text in told), "of savepoints it would miss rows"
    result = load(dsn, path, reject=reject, max_rejects=2)
    assert result.ok, result.error
    assert (result.run, result.tasks[0].rows, result.tasks[0].rejected) == (failed.run, 300, 2)
    assert rows(dsn, "SELECT count(*), count(DISTINCT id) FROM t") == [(300, 300)]


def test_other_options_do_not_put_rows_there_twice(dsn: str, tmp_path: Path) -> None:
    run(dsn, TABLE)
    path = tmp_path / "data.csv"
    path.write_text("".join(f"{n},a,1\n" for n in range(300)) + "NA,a,1\n")
    failed = load(dsn, path, jobs=1)
    ((there,),) = rows(dsn, "SELECT count(*) FROM t")
    assert there
    mended = CopyOptions(null="NA")
    error = load(dsn, path, copy=mended).error
    assert error is not None
    assert f"{there} rows of a load that was not done are in the table" in error.message
    assert f"pgfan resume {failed.run} goes on" in (error.hint or "")
    with pytest.raises(ResumeRefusedError, match="would be there twice"):
        load(dsn, path, restart=True)
    assert rows(dsn, "SELECT count(*) FROM t") == [(there,)]
    hint = error.hint or ""
    run(dsn, hint[hint.index("WITH gone AS") :])
    assert load(dsn, path, copy=mended).ok
    assert rows(dsn, "SELECT count(*), count(id) FROM t") == [(301, 300)]


@pytest.mark.parametrize("way", ["TRUNCATE t", "truncate", "another table", "done"])
def test_rows_that_are_not_there_are_in_nobodys_way(dsn18: str, tmp_path: Path, way: str) -> None:
    run(dsn18, TABLE, "CREATE TABLE u (LIKE t)")
    path, table = tmp_path / "data.csv", "u" if way == "another table" else "t"
    path.write_text("".join(f"{n},a,1\n" for n in range(300)) + "NA,a,1\n" * (way != "done"))
    assert api.load(dsn18, [path], table, api.LoadOptions(piece_bytes=64, jobs=1)).ok == (
        way == "done"
    )
    if way == "TRUNCATE t":
        run(dsn18, way)
    assert load(dsn18, path, copy=CopyOptions(null="NA"), truncate=way == "truncate").ok
    assert rows(dsn18, "SELECT count(*) FROM t") == [(600 if way == "done" else 301,)]


def test_truncate_empties_once_and_partitions_are_filled(dsn: str, tmp_path: Path) -> None:
    run(
        dsn,
        "CREATE TABLE t (id int, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (1000)",
        "INSERT INTO t VALUES (5, 'old')",
    )
    path = tmp_path / "data.csv"
    path.write_text("".join(f"{n},x\n" for n in range(300)))
    assert load(dsn, path, truncate=True).ok
    assert rows(dsn, "SELECT tableoid::regclass::text, count(*) FROM t GROUP BY 1") == [
        ("t1", 100),
        ("t2", 200),
    ]


def test_row_triggers_see_one_copy(dsn18: str, tmp_path: Path) -> None:
    run(
        dsn18,
        TABLE,
        "CREATE TABLE log (xid xid8)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO log VALUES (pg_current_xact_id()); RETURN NEW; END$$",
        "CREATE TRIGGER note BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()",
    )
    path = tmp_path / "data.csv"
    path.write_text("1,a,1\n" * 200)
    result = load(dsn18, path)
    assert result.ok
    assert result.tasks[0].verdict == "serial"
    assert rows(dsn18, "SELECT count(*), count(DISTINCT xid) FROM log") == [(200, 1)]


def test_indexes_are_built_after_the_load_also_when_it_fails(dsn18: str, tmp_path: Path) -> None:
    run(
        dsn18,
        TABLE,
        "CREATE INDEX by_name ON t (name)",
        "CREATE UNIQUE INDEX by_id ON t (id)",
        "CREATE INDEX by_amount ON t (amount DESC) WHERE amount > 1",
    )
    before = rows(dsn18, "SELECT indexdef FROM pg_indexes WHERE tablename = 't'")
    path = tmp_path / "data.csv"
    path.write_text("".join(f"{n},a,1\n" for n in range(100)))
    assert load(dsn18, path, defer_indexes=True).ok
    assert rows(dsn18, "SELECT indexdef FROM pg_indexes WHERE tablename = 't'") == before
    path.write_text("1,a,1\n")
    assert not load(dsn18, path, defer_indexes=True).ok
    assert rows(dsn18, "SELECT indexdef FROM pg_indexes WHERE tablename = 't'") == before
    assert rows(dsn18, "SELECT count(*) FROM t") == [(100,)]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none-*.csv", "nothing matches"), ("no.csv", "no such file"), ("data", "does not tell")],
)
def test_names_that_stand_for_nothing(dsn18: str, tmp_path: Path, name: str, message: str) -> None:
    run(dsn18, TABLE)
    (tmp_path / "data").write_text("1,a,1\n")
    with pytest.raises(PgfanError, match=message):
        load(dsn18, tmp_path / name)


def test_upsert_replaces_rows_in_one_step_and_leaves_nothing_beside(
    dsn: str, tmp_path: Path
) -> None:
    run(
        dsn,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, "
        "amount numeric DEFAULT 7)",
        "INSERT INTO t (name) SELECT 'old' FROM generate_series(1, 9)",
    )
    path = tmp_path / "data.csv"
    path.write_text("name,id\n" + "".join(f"new,{n}\n" for n in range(5, 200)))
    result = load(dsn, path, upsert=("id",), missing="default")
    assert result.ok, result.error
    assert result.tasks[0].rows == 195
    assert rows(dsn, "SELECT name, count(*), sum(id), sum(amount)::int FROM t GROUP BY 1") == [
        ("new", 195, sum(range(5, 200)), 7 * 195),
        ("old", 4, 10, 28),
    ]
    assert rows(dsn, "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgfan%'") == [(0,)]


@pytest.mark.parametrize(
    ("text", "upsert", "message"),
    [
        ("1,a,1\n2,b,1\n1,c,1\n", "id", "a key twice"),
        ("1,a,1\n", "name", "no unique index"),
        ("1,a,1\n", "more", "no such column"),
    ],
)
def test_upserts_that_are_refused_leave_the_table_alone(
    dsn18: str, tmp_path: Path, text: str, upsert: str, message: str
) -> None:
    run(dsn18, TABLE, "CREATE UNIQUE INDEX ON t (id)", "INSERT INTO t VALUES (1, 'old', 1)")
    path = tmp_path / "data.csv"
    path.write_text(text)
    result = load(dsn18, path, upsert=(upsert,))
    assert result.error is not None
    assert message in result.error.message
    assert rows(dsn18, "SELECT name FROM t") == [("old",)]


NO_TABLES = {
    "a view": ("CREATE VIEW t AS SELECT 1 AS id", "t is no table"),
    "a materialized view": ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS id", "t is no table"),
    "a foreign table": (
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
            "CREATE FOREIGN TABLE t (id int) SERVER s"
        ),
        "t is no table",
    ),
    "partitions of which a crash empties one": (
        (
            "CREATE TABLE t (id int) PARTITION BY LIST (id); "
            "CREATE TABLE p PARTITION OF t FOR VALUES IN (1); "
            "CREATE UNLOGGED TABLE u PARTITION OF t FOR VALUES IN (2)"
        ),
        "logged and unlogged partitions",
    ),
    "a column that no row is without": (
        "CREATE TABLE t (id int, k int NOT NULL)",
        "no 'k': .* has no rows without",
    ),
}


@pytest.mark.parametrize(("made", "message"), NO_TABLES.values(), ids=list(NO_TABLES))
def test_what_files_are_not_loaded_into(
    dsn18: str, tmp_path: Path, made: str, message: str
) -> None:
    run(dsn18, made)
    path = tmp_path / "data.csv"
    path.write_text("id\n1\n")
    with pytest.raises(UsageError, match=message):
        load(dsn18, path)
    assert rows(dsn18, "SELECT to_regclass('pgfan.run')") == [(None,)]


@pytest.fixture
def loader(dsn18: str) -> Iterator[str]:
    """A role that may write t and not read it, and owns a schema for the journal."""
    run(
        dsn18,
        TABLE,
        "CREATE ROLE loader LOGIN",
        "GRANT INSERT ON t TO loader",
        "CREATE SCHEMA pgfan AUTHORIZATION loader",
    )
    try:
        yield f"{dsn18} user=loader"
    finally:
        run(dsn18, "DROP OWNED BY loader", "DROP ROLE loader")


def test_row_level_security_is_the_servers_to_refuse(
    dsn18: str, loader: str, tmp_path: Path
) -> None:
    run(dsn18, "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (true)")
    path = tmp_path / "data.csv"
    path.write_text("1,a,1\n")
    error = load(loader, path).error
    assert error is not None
    assert "COPY FROM not supported with row-level security" in error.message
    assert rows(dsn18) == []


def test_rows_that_nobody_may_look_for_may_be_there(
    dsn18: str, loader: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("".join(f"{n},a,1\n" for n in range(300)) + "NA,a,1\n")
    failed = load(loader, path, jobs=1)
    run(dsn18, "TRUNCATE t")
    error = load(loader, path, copy=CopyOptions(null="NA")).error
    assert error is not None
    assert "would be there twice" in error.message
    assert api.forget(loader, [failed.run]) == [failed.run]
    assert load(loader, path, copy=CopyOptions(null="NA")).ok


def test_headers_find_columns_whatever_their_names(dsn18: str, tmp_path: Path) -> None:
    names = ['say ""hi""', "select", "Größe", "a;b", "n" * 63, "Ñ"]
    columns = ", ".join(f'"{name}" int' for name in names)
    run(dsn18, f'CREATE TABLE "T ""x""" ({columns})')
    path = tmp_path / "data.csv"
    header = ['say "hi"', "SELECT", "größe", "a;b", "n" * 63, "ñ"]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header[::-1], [6, 5, 4, 3, 2, 1]])
    path.write_text(text.getvalue(), "utf-8", newline="")
    result = api.load(dsn18, [path], '"T ""x"""', api.LoadOptions())
    assert result.ok, result.error
    assert rows(dsn18, 'TABLE "T ""x"""') == [(1, 2, 3, 4, 5, 6)]


VALUES = st.text(alphabet="ab\"'\\,;\t\n\r é.N", max_size=8)
DIALECTS = st.sampled_from(
    [
        CopyOptions(),
        CopyOptions(delimiter=";", quote="'", null="N"),
        CopyOptions(escape="\\"),
        CopyOptions(format="text"),
        CopyOptions(encoding="LATIN1"),
    ]
)


def test_any_rows_in_any_dialect_come_back(dsn18: str, tmp_path: Path) -> None:
    """PostgreSQL writes the file, pgfan loads it in ranges of any size, PostgreSQL compares."""
    run(dsn18, "CREATE TABLE s (i int, v text)", "CREATE TABLE t (i int, v text)")

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.none() | VALUES, max_size=30), DIALECTS, st.integers(1, 200), st.booleans())
    def check(values: list[str | None], options: CopyOptions, piece: int, pack: bool) -> None:
        path = tmp_path / "data.gz" if pack else tmp_path / "data"
        with psycopg.connect(dsn18) as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE s, t")
            cursor.executemany("INSERT INTO s VALUES (%s, %s)", enumerate(values))
            with cursor.copy(f"COPY s TO STDOUT WITH {options.sql()}".encode()) as copy:
                raw = b"".join(copy)
            path.write_bytes(gzip.compress(raw) if pack else raw)
        form: Literal["csv", "text"] = "csv" if options.format == "csv" else "text"
        result = load(
            dsn18, path, copy=options, format=form, piece_bytes=piece, restart=True, jobs=2
        )
        assert result.ok, result.error
        assert rows(dsn18, "TABLE s EXCEPT ALL TABLE t") == []
        assert rows(dsn18, "SELECT count(*) FROM t") == [(len(values),)]

    check()
