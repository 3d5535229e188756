r"""A script's \copy in ranges: the rows of one COPY, and one COPY where that would not be so."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import api
from pgfan.postgres import script_files
from pgfan.reading.paths import read_paths
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.execute.outcome import RunResult, TaskOutcome

PIECE_BYTES = 4000
ROWS = 900
HOSTILE = ("a;b", 'say ""so""', "two\nlines", "", "ünï", "\\.", "x\\ty")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some kilobytes are cut as large ones are."""
    monkeypatch.setattr(script_files, "PIECE_BYTES", PIECE_BYTES)


def run(dsn: str, script: str, **options: object) -> RunResult:
    program = Program.read_psql([Source("main.sql", script)], {}, str)
    chosen = {"split": "always", "chunk_rows": 10_000, "jobs": 3, **options}
    return api.run(dsn, program, api.ExecOptions(**chosen))  # type: ignore[arg-type]


def copy_of(ended: RunResult) -> TaskOutcome:
    return next(task for task in ended.tasks if task.kind == "copy")


def rows_of(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def csv(delimiter: str = ",", end: str = "\n") -> str:
    lines = (f'{i}{delimiter}"{HOSTILE[i % len(HOSTILE)]} {i}"{delimiter}' for i in range(ROWS))
    return f"x{delimiter}y{delimiter}z{end}" + "".join(line + end for line in lines)


DIALECTS = {
    "csv": (csv(), "(FORMAT csv, HEADER)"),
    "old words": (csv(";", "\r\n"), "CSV HEADER DELIMITER ';'"),
    "latin1": (csv(), "(FORMAT csv, HEADER true, ENCODING 'latin1', FORCE_NULL (t))"),
    "text": ("".join(f"{i}\ta\\\nb {i}\\\\\t\\N\n" for i in range(ROWS)), ""),
    "no last line end": (csv()[:-1], "WITH (FORMAT csv, HEADER)"),
}


@pytest.mark.parametrize(("text", "options"), DIALECTS.values(), ids=list(DIALECTS))
def test_the_rows_are_those_of_one_copy(dsn: str, tmp_path: Path, text: str, options: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode("latin1" if "latin1" in options else "utf-8"))
    script = f"""
        CREATE SCHEMA s; SET search_path = s;
        CREATE TABLE one (i int, t text, u text DEFAULT 'd', id serial, g int GENERATED ALWAYS AS
            (i * 2) STORED, CHECK (i >= 0), UNIQUE (i)) ;
        CREATE TABLE "Many" (LIKE one INCLUDING ALL);
        -- pgfan: serial
        \\copy one (i, t, u) FROM '{file}' {options}
        \\copy "Many" (i, t, u) FROM '{file}' {options}
    """
    ended = run(dsn, script)
    assert ended.ok, ended.error
    serial, split = (task for task in ended.tasks if task.kind == "copy")
    assert (serial.verdict, serial.rows) == ("serial", ROWS)
    assert (split.verdict, split.key, split.rows) == ("split", "file", ROWS)
    assert split.chunks > 2
    assert "sequence-order" in split.hazards
    assert (
        rows_of(dsn, 'SELECT i, t, u, g FROM s.one EXCEPT ALL SELECT i, t, u, g FROM s."Many"')
        == []
    )
    assert rows_of(dsn, 'SELECT count(*), count(DISTINCT id) FROM s."Many"') == [(ROWS, ROWS)]


ONE_COPY = {
    "a trigger": (
        """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()""",
        "",
        "trigger",
    ),
    "a default that looks at the time": (
        "ALTER TABLE t ADD at timestamptz DEFAULT now()",
        "",
        "default-function",
    ),
    "a default that may look at other rows": (
        """CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM t';
        ALTER TABLE t ADD n int DEFAULT f()""",
        "",
        "default-function",
    ),
    "a key to itself": ("ALTER TABLE t ADD UNIQUE (i), ADD FOREIGN KEY (i) REFERENCES t (i)", "",
        "target-references-itself"),
    "a rule": ("CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY c", "", "rule"),
    "a where": ("", " WHERE i > 3", "copy-file"),
    "freeze": ("TRUNCATE t", ", FREEZE false", "copy-file"),
    "binary": ("", "BINARY", "copy-file"),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "more", "code"), ONE_COPY.values(), ids=list(ONE_COPY))
def test_what_several_copies_would_change_is_one(
    dsn18: str, tmp_path: Path, setup: str, more: str, code: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(csv(), "utf-8")
    options = f"(FORMAT csv, HEADER{more})" if "," in more else f"(FORMAT csv, HEADER){more}"
    options = "(FORMAT binary)" if more == "BINARY" else options
    table = "CREATE TABLE t (i int, t text, u text);"
    ended = run(dsn18, f"{table} {setup};\n\\copy t (i, t, u) FROM '{file}' {options}\n")
    task = copy_of(ended)
    assert (task.verdict, [reason for reason, _ in task.reasons]) == ("serial", [code])
    if code != "copy-file" or more != "BINARY":
        assert ended.ok, task.error
        assert task.rows == (ROWS - 4 if "WHERE" in more else ROWS)


def test_blocks_temporary_tables_and_requests_keep_it_in_one_copy(
    dsn18: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(csv(), "utf-8")
    copy = f"\\copy t FROM '{file}' (FORMAT csv, HEADER)\n"
    table = "CREATE TABLE t (i int, t text, u text);\n"
    block = run(dsn18, f"{table} BEGIN;\n{copy}ROLLBACK;\nSELECT 1;")
    assert (block.ok, rows_of(dsn18, "SELECT count(*) FROM t")) == (True, [(0,)])
    cases: dict[str, tuple[str, dict[str, object]]] = {
        "session": (f"CREATE TEMP TABLE t (i int, t text, u text);\n{copy}", {}),
        "asked-serial": (copy, {"split": "never"}),
        "atomic": (copy, {"atomic": True}),
        "small": (f"\n{copy}", {"split": "auto"}),
    }
    for code, (script, options) in cases.items():
        ended = run(dsn18, script, **options)
        task = copy_of(ended)
        assert (ended.ok, task.verdict, task.rows) == (True, "serial", ROWS), code
        assert [reason for reason, _ in task.reasons] == [code]


def test_a_byte_order_mark_is_left_to_copy_and_a_missing_file_is_named(
    dsn18: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbf" + csv().encode())
    table = "CREATE TABLE t (i int, t text, u text);"
    marked = run(dsn18, f"{table}\n\\copy t FROM '{file}' (FORMAT csv, HEADER)\n")
    assert copy_of(marked).reasons[0][0] == "copy-file"
    gone = run(dsn18, f"\\copy t FROM '{tmp_path}/none.csv' (FORMAT csv)\n")
    assert "none.csv: No such file or directory" in str(copy_of(gone).error)


def test_a_bad_row_is_named_by_file_line_and_column(dsn18: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    lines = csv().replace("two\nlines", "").splitlines()
    lines[500] = "x,y,z"
    file.write_text("\n".join(lines), "utf-8")
    script = f"CREATE TABLE t (i int, t text, u text);\n\\copy t FROM '{file}' (FORMAT csv, HEADER)"
    error = copy_of(run(dsn18, script)).error
    assert error is not None
    assert f"{file}:501, column i: 'x': invalid input syntax" in error.message
    assert error.position is not None
    assert error.position.line == 2


def test_a_directive_loads_files_of_every_format(dsn18: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    import pyarrow.parquet as pq

    (tmp_path / "raw").mkdir()
    for number in range(3):
        rows = "".join(f"name {i},{i}\n" for i in range(number * 100, number * 100 + 100))
        (tmp_path / "raw" / f"{number}.csv.gz").write_bytes(gzip.compress(b"t,i\n" + rows.encode()))
    pq.write_table(pa.table({"i": list(range(300, 400))}), tmp_path / "p.parquet")
    (tmp_path / "fixed.dat").write_text("".join(f"{i:5}n{i:<9}\n" for i in range(400, 500)))
    (tmp_path / "make.sql").write_text(
        "CREATE TABLE t (i int, t text);\n"
        "-- pgfan: load\n\\copy t FROM 'raw/*.csv.gz'\n"
        "-- pgfan: load\n\\copy t FROM 'p.parquet' (MISSING default)\n"
        "-- pgfan: load\n\\copy t FROM 'fixed.dat' (WIDTHS '5,10')\n"
        "CREATE TABLE total AS SELECT count(*) AS n, sum(i), count(t) AS names FROM t;\n",
        "utf-8",
    )
    ended = api.run(dsn18, read_paths([tmp_path], {}))
    assert ended.ok, ended.error
    assert [task.key for task in ended.tasks if task.kind == "copy"] == ["file"] * 3
    assert rows_of(dsn18, "TABLE total") == [(500, sum(range(500)), 400)]


@pytest.mark.parametrize("directive", ["", "-- pgfan: load\n"], ids=["plain", "load"])
def test_what_has_failed_goes_on_from_its_ranges(
    dsn18: str, tmp_path: Path, directive: str
) -> None:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int PRIMARY KEY, t text)")
        connection.execute("INSERT INTO t VALUES (850)")
        for number in range(9):
            lines = (f"{i},x\n" for i in range(number * 100, number * 100 + 100))
            (tmp_path / f"{number}.csv").write_text("i,t\n" + "".join(lines))
        files = f"{tmp_path}/*.csv"
        if not directive:
            files = f"{tmp_path}/all.csv"
            (tmp_path / "all.csv").write_text("i,t\n" + "".join(f"{i},x\n" for i in range(ROWS)))
        script = f"{directive}\\copy t FROM '{files}' (FORMAT csv, HEADER)\n"
        failed = run(dsn18, script, jobs=1)
        error = copy_of(failed).error
        assert error is not None
        assert "duplicate key" in error.message
        assert rows_of(dsn18, "SELECT count(*) > 1, count(*) < 850 FROM t") == [(True, True)]
        connection.execute("DELETE FROM t WHERE i = 850 AND t IS NULL")
    ended = run(dsn18, script, jobs=2)
    assert ended.ok, ended.error
    assert (ended.run, copy_of(ended).rows) == (failed.run, ROWS)
    assert rows_of(dsn18, "SELECT count(*), sum(i) FROM t") == [(ROWS, sum(range(ROWS)))]


class Heard:
    """A display that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def emit(self, event: object) -> None:
        self.said.append(getattr(event, "text", ""))


def way_back(text: str) -> str:
    """The statement that a message offers."""
    return text[text.index("WITH gone AS") :]


def test_a_failed_one_is_taken_back_and_begun_anew_with_a_mended_file(
    dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    lines = [f"{i},{'x' * 20}" for i in range(ROWS)]
    file.write_text("\n".join([*lines[:-1], "x,y"]))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int, t text) PARTITION BY RANGE (i)")
        connection.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (-1) TO (300)")
        connection.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (300) TO (900)")
        connection.execute("INSERT INTO t VALUES (-1)")
        text = f"CREATE TABLE before (n int);\n\\copy t FROM '{file}' (FORMAT csv)\n"
        program, heard = Program.read_psql([Source("main.sql", text)], {}, str), Heard()
        options = api.ExecOptions(split="always", chunk_rows=10_000, jobs=1)
        failed = api.run(dsn, program, options, progress=heard)
        assert f"{file}:{ROWS}, column i: 'x'" in str(copy_of(failed).error)
        (said,) = (one for one in heard.said if "stay in the table" in one)
        ((there,),) = rows_of(dsn, "SELECT count(*) FROM t WHERE i >= 0")
        assert there
        assert said.startswith(f"{there} rows of other ranges")

        file.write_text("\n".join(lines))
        changed = copy_of(run(dsn, text)).error
        assert "was changed since the load began" in str(changed)
        assert changed is not None
        assert way_back(changed.hint or "") == way_back(said)
        assert connection.execute(way_back(said).encode()).rowcount == there
    assert rows_of(dsn, "TABLE t") == [(-1, None)]
    ended = run(dsn, text)
    assert ended.ok, ended.error
    assert (ended.run, copy_of(ended).rows) == (failed.run, ROWS)
    assert rows_of(dsn, "SELECT count(*), sum(i) FROM t") == [(ROWS + 1, sum(range(ROWS)) - 1)]


def test_an_edited_script_does_not_load_rows_twice_that_a_failed_one_has_left(
    dsn18: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("".join(f"{i},{'x' * 20}\n" for i in range(ROWS)) + "NA,x\n")
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int, t text)")
        copy = f"\\copy t FROM '{file}' (FORMAT csv{{}})\n"
        failed = run(dsn18, copy.format(""), jobs=1)
        mended = copy.format(", NULL 'NA'")
        error = copy_of(run(dsn18, mended)).error
        assert "would be there twice" in str(error)
        assert f"pgfan forget {failed.run}" in str(error and error.hint)
        ended = run(dsn18, f"TRUNCATE t;\n{mended}")
        assert ended.ok, ended.error
    assert rows_of(dsn18, "SELECT count(*), count(i) FROM t") == [(ROWS + 1, ROWS)]


def test_a_failed_one_of_one_copy_leaves_nothing(dsn18: str, tmp_path: Path) -> None:
    file, heard = tmp_path / "a.csv", Heard()
    file.write_text("".join(f"{i}\n" for i in range(ROWS)) + "x\n")
    text = f"CREATE TABLE t (i int);\n-- pgfan: serial\n\\copy t FROM '{file}' (FORMAT csv)\n"
    program = Program.read_psql([Source("main.sql", text)], {}, str)
    assert not api.run(dsn18, program, api.ExecOptions(jobs=2), progress=heard).ok
    assert not any("stay in the table" in one for one in heard.said)
    assert rows_of(dsn18, "TABLE t") == []


@pytest.mark.parametrize("directive", ["", "-- pgfan: load\n"], ids=["plain", "load"])
def test_a_file_that_was_changed_is_not_gone_on_with(
    dsn18: str, tmp_path: Path, directive: str
) -> None:
    """Ranges of the old file and of the new one would make rows of neither."""
    for number in range(9 if directive else 1):
        rows = range(number * 100, number * 100 + 100) if directive else range(ROWS)
        (tmp_path / f"{number}.csv").write_text("".join(f"{i},x\n" for i in rows))
    script = f"{directive}\\copy t FROM '{tmp_path}/{'*' if directive else 0}.csv' (FORMAT csv)\n"
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int CONSTRAINT c CHECK (i <> 850), t text)")
        assert not run(dsn18, script, jobs=1).ok
        before = rows_of(dsn18, "SELECT count(*), max(t) FROM t")
        assert before > [(1, "x")]
        connection.execute("ALTER TABLE t DROP CONSTRAINT c")
    changed = tmp_path / "0.csv"
    changed.write_text(changed.read_text().replace("x", "y"))
    error = copy_of(run(dsn18, script, jobs=1)).error
    assert error is not None
    assert "changed since" in error.message
    assert rows_of(dsn18, "SELECT count(*), max(t) FROM t") == before


def test_a_load_that_cannot_be_is_refused_with_its_place(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("i\n1\n", "utf-8")
    table, load = "CREATE TABLE t (i int);\n", "-- pgfan: load\n\\copy "
    cases = {
        f"t FROM '{tmp_path}/*.parquet'": "nothing matches",
        f"none FROM '{tmp_path}/a.csv'": 'relation "none" does not exist',
        f"t FROM '{tmp_path}/a.csv' (FORMAT odf)": "FORMAT odf",
        f"t FROM '{tmp_path}/a.csv' (FREEZE)": "there is no option FREEZE",
        f"t (x) FROM '{tmp_path}/a.csv'": "no such column",
    }
    for number, (copy, said) in enumerate(cases.items()):
        error = copy_of(run(dsn18, (table if not number else "") + load + copy)).error
        assert error is not None
        assert said in error.message, error.message
        assert error.position is not None
    temporary = "CREATE TEMP TABLE own (i int);\n"
    error = copy_of(run(dsn18, f"{temporary}{load}own FROM '{tmp_path}/a.csv'")).error
    assert error is not None
    assert "connections of its own" in error.message


def test_a_plan_says_how_a_file_is_divided(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv(), "utf-8")
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int, t text, u text)")
    text = f"\\copy t FROM '{tmp_path}/a.csv' (FORMAT csv, HEADER)\n"
    program = Program.read_psql([Source("main.sql", text)], {}, str)
    (found,) = api.plan_run(dsn18, program, api.ExecOptions(split="always")).tasks
    assert found.verdict == "split"
    assert found.by is not None
    assert found.by.key == "file"
