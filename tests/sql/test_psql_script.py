r"""psql scripts to statements: what psql's own rules make of text, variables and meta-commands."""

from __future__ import annotations

import json

import pytest

from pgfan.errors import UnsupportedError, UsageError
from pgfan.sql.program import Program, Source
from pgfan.sql.psql_copy import client_copy
from pgfan.sql.psql_script import PsqlScript, read_psql

FILES = {
    "part.sql": "SELECT 'part';\n\\ir deep/inner.sql\n",
    "deep/inner.sql": "SELECT 'inner', :'v';\n",
    "loop.sql": "\\i loop.sql\n",
    "quits.sql": "SELECT 1;\n\\q\nSELECT 2;\n",
    "open.sql": "\\if true\n",
}


def fetch(name: str) -> str:
    if name not in FILES:
        raise UsageError(f"{name}: no such file")
    return FILES[name]


def read(text: str, **variables: str) -> PsqlScript:
    return read_psql([("main.sql", text)], variables, fetch)


def texts(text: str, **variables: str) -> list[str]:
    return [item.first.text for item in read(text, **variables).items]


ATOMIC = (
    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC "
    "SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
)
STATEMENTS = {
    "one": ("SELECT 1;", ["SELECT 1"]),
    "the last one needs no semicolon": ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
    "empty statements are none": (";;SELECT 1;;  ;", ["SELECT 1"]),
    "comments before": ("-- a;\n/* b; /* c */ ; */ SELECT 1; -- d", ["SELECT 1"]),
    "comments inside stay": ("SELECT /* a;b */ 1 -- c;\n;", ["SELECT /* a;b */ 1 -- c;"]),
    "a quote in a comment": ("SELECT 1 -- it's\n; SELECT 2;", ["SELECT 1 -- it's", "SELECT 2"]),
    "quotes": ("SELECT 'a;''b;', \"c;\"\"d;\";", ["SELECT 'a;''b;', \"c;\"\"d;\""]),
    "a backslash in a plain string": ("SELECT '\\'; SELECT 2;", ["SELECT '\\'", "SELECT 2"]),
    "an escaped string": ("SELECT E'a\\';b'; SELECT 2;", ["SELECT E'a\\';b'", "SELECT 2"]),
    "a column named e": ("SELECT 1 AS e; SELECT 'x';", ["SELECT 1 AS e", "SELECT 'x'"]),
    "it goes on on the next line": ("SELECT E'a'\n'\\';';", ["SELECT E'a'\n'\\';'"]),
    "dollar quotes": ("SELECT $$a;'b$$, $x$;$$;$x$;", ["SELECT $$a;'b$$, $x$;$$;$x$"]),
    "a dollar in a name": (
        "CREATE TABLE a$b$c (i int); SELECT 1;",
        ["CREATE TABLE a$b$c (i int)", "SELECT 1"],
    ),
    "rules have semicolons in parentheses": (
        "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1;",
        ["CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)", "SELECT 1"],
    ),
    "a body with BEGIN ATOMIC": (
        f"{ATOMIC}; SELECT 3;",
        [ATOMIC, "SELECT 3"],
    ),
    "a block elsewhere is no body": ("BEGIN; COMMIT; SELECT 1;", ["BEGIN", "SELECT 1"]),
    "a value": ("SELECT :'v', :\"v\";", ["SELECT 'it''s', \"it's\""]),
    "a value as it stands": ("\\set w 'a, b'\nSELECT :w;", ["SELECT a, b"]),
    "no value": ("SELECT ':v', \":v\", $$:v$$, x::v;", ["SELECT ':v', \":v\", $$:v$$, x::v"]),
    "a value that is not there": ("SELECT a[1:2];", ["SELECT a[1:2]"]),
    "is there one": ("SELECT :{?v}, :{?w};", ["SELECT TRUE, FALSE"]),
    "a colon": ("SELECT a[1\\:2];", ["SELECT a[1:2]"]),
    "a backslash in a value": ("\\set w 'a\\\\b'\nSELECT :'w';", ["SELECT  E'a\\\\b'"]),
    "a value that is a statement": ("\\set w 'SELECT 2'\n:w;", ["SELECT 2"]),
    "statements in a value": ("\\set w 'SELECT 2; SELECT'\n:w 3;", ["SELECT 2", "SELECT 3"]),
    "a copy in a value": (
        "\\set f 'a b.csv'\n\\set w '\\\\copy t FROM ' :'f'\n:w csv\nSELECT 1;",
        ["COPY t FROM STDIN csv", "SELECT 1"],
    ),
    "a value of itself": ("\\set w 'a[1:w]'\nSELECT :w;", ["SELECT a[1:w]"]),
    "set joins its arguments": ("\\set w a b :v\nSELECT :'w';", ["SELECT 'abit''s'"]),
    "set, and set anew": ("\\set w 1\nSELECT :w; \\set w 2\nSELECT :w;", ["SELECT 1", "SELECT 2"]),
    "unset": ("\\unset v\nSELECT :{?v};", ["SELECT FALSE"]),
    "escapes in quotes": ("\\set w 'a\\tb''c\\x41\\101'\nSELECT :'w';", ["SELECT 'a\tb''cAA'"]),
    "two commands in a line": ("\\set w 1 \\\\ SELECT :w;", ["SELECT 1"]),
    "go": ("SELECT 1 \\g\nSELECT 2 \\gx\n", ["SELECT 1", "SELECT 2"]),
    "forget": ("SELECT 1 \\r\nSELECT 2;", ["SELECT 2"]),
    "quit": ("SELECT 1;\n\\q\nSELECT 2;", ["SELECT 1"]),
    "how things are shown": ("\\timing on\n\\pset null x\n\\x\nSELECT 1;", ["SELECT 1"]),
    "what pg_dump writes": ("\\restrict abc\nSELECT 1;\n\\unrestrict abc\n", ["SELECT 1"]),
    "include": (
        "\\i part.sql\nSELECT 3;",
        ["SELECT 'part'", "SELECT 'inner', 'it''s'", "SELECT 3"],
    ),
    "quit ends one file": ("\\i quits.sql\nSELECT 3;", ["SELECT 1", "SELECT 3"]),
    "a byte order mark": ("\ufeffSELECT 1;", ["SELECT 1"]),
    "carriage returns": ("SELECT 1\r\n;\r\nSELECT\r\n2;\r\n", ["SELECT 1", "SELECT\r\n2"]),
    "if": ("\\if 1\nSELECT 1;\n\\else\nSELECT 2;\n\\endif\nSELECT 3;", ["SELECT 1", "SELECT 3"]),
    "else": ("\\if no\nSELECT 1;\n\\else\nSELECT 2;\n\\endif", ["SELECT 2"]),
    "elif": (
        "\\if off\nSELECT 1;\n\\elif :{?v}\nSELECT 2;\n\\elif on\nSELECT 3;\n\\endif",
        ["SELECT 2"],
    ),
    "what is not taken is not looked at": (
        "\\if no\nSELECT it''s; \\! rm\n\\if what\n\\endif\n\\i none.sql\n\\endif\nSELECT 1;",
        ["SELECT 1"],
    ),
    "what a branch that is not taken has begun": (
        "\\if no\nSELECT 1\n\\else\nSELECT 2;\n\\endif\n\\if 0\nSELECT 3\n\\endif\nSELECT 4;",
        ["SELECT 2", "SELECT 4"],
    ),
    "nested": (
        "\\if true\n\\if false\nSELECT 1;\n\\else\nSELECT 2;\n\\endif\nSELECT 3;\n\\endif",
        ["SELECT 2", "SELECT 3"],
    ),
    "copy": (
        "COPY t (a, b) FROM STDIN;\n1\t2\n\\.\nSELECT 1;",
        ["COPY t (a, b) FROM STDIN", "SELECT 1"],
    ),
    "copy of psql": (
        "\\copy t(a) from 'a b.csv' with (format csv)\nSELECT 1;",
        ["COPY t(a) FROM STDIN with (format csv)", "SELECT 1"],
    ),
}


@pytest.mark.parametrize(("text", "statements"), STATEMENTS.values(), ids=list(STATEMENTS))
def test_statements(text: str, statements: list[str]) -> None:
    assert texts(text, v="it's") == statements


def test_data_of_copy() -> None:
    script = read("COPY t FROM STDIN; -- so\na;\\b\n\\N\n\\.\nCOPY t FROM STDIN;\n\\.\nSELECT 1;")
    assert [item.first.data for item in script.items] == ["a;\\b\n\\N\n", "", None]


def test_data_without_an_end_is_the_rest_of_the_file() -> None:
    assert read("COPY t FROM STDIN;\n1\n2").items[0].first.data == "1\n2"


@pytest.mark.parametrize(
    ("line", "sql", "name"),
    [
        ("t from x.csv csv header", "COPY t FROM STDIN csv header", "x.csv"),
        ("t(a) from 'it''s' (format csv);", "COPY t(a) FROM STDIN (format csv)", "it's"),
        ("(select ',from x' from a) to y", "COPY (select ',from x' from a) TO STDOUT", "y"),
        ('"to" from stdin', 'COPY "to" FROM STDIN', None),
    ],
)
def test_copy_of_psql(line: str, sql: str, name: str | None) -> None:
    assert client_copy(line) == (sql, name)


def test_files_that_are_included_where_it_counts_and_where_not() -> None:
    script = read("\\ir part.sql\n\\if no\n\\i other.sql\n\\endif", v="x")
    assert script.includes == {"part.sql", "deep/inner.sql", "other.sql"}


def test_names_of_files_begin_where_psql_was_started() -> None:
    sources = [("p/sub/main.sql", "\\i part.sql\n\\copy t from data.csv\n\\copy t from /x.csv\n")]
    files = {"p/part.sql": "SELECT 1;"}
    script = read_psql(sources, {}, files.__getitem__, folder="p")
    assert [item.first.client_file for item in script.items] == [None, "p/data.csv", "/x.csv"]


def test_cells_that_are_statements() -> None:
    script = read("SELECT 'SELECT 1' \\gexec\nSELECT 2;")
    assert [item.first.generates is not None for item in script.items] == [True, False]


def test_what_is_said_stands_before_its_statement() -> None:
    script = read("\\echo a  b :v\n\\echo -n 'c d'\nSELECT 1;\n\\qecho \"e f\"\n", v="w")
    assert script.items[0].first.echoes == ("a b w\n", "c d")
    assert script.ends_with == ('"e f"\n',)


def test_comments_before_a_statement_are_kept() -> None:
    script = read("-- pgfan: serial\n\nSELECT 1;\n/* b */ SELECT 2;")
    comments = [item.first.comments for item in script.items]
    assert comments == [("-- pgfan: serial",), ("/* b */",)]


def test_places_are_those_of_the_file() -> None:
    script = read("\\set v 1\n  SELECT 1;\n\\i part.sql\n/* c */ SELECT 2;")
    places = [str(item.first.position) for item in script.items]
    assert places == ["main.sql:2:3", "part.sql:1:1", "deep/inner.sql:1:1", "main.sql:4:9"]


def test_what_a_value_holds_stands_where_the_variable_does() -> None:
    script = read("\\set v 'SELECT 1; SELECT 2'\nSELECT 0; :v;\n :v, 3;")
    places = [str(item.first.position) for item in script.items]
    assert places == [f"main.sql:{place}" for place in ("2:1", "2:11", "2:11", "3:2", "3:2")]


def test_the_journal_keeps_each_text_once() -> None:
    texts_of = {"part.sql": "SELECT 2;"}
    sources = [Source("main.sql", "SELECT 'it';\n\\i part.sql\n"), Source("-", "SELECT 3;")]
    program = Program.read_psql(sources, {}, texts_of.__getitem__)
    kept = json.dumps(program.to_json())
    assert kept.count("'it'") == 1
    assert Program.from_json(json.loads(kept)) == program
    earlier = program.to_json() | {"sources": [[one.name, one.text] for one in sources]}
    assert Program.from_json(earlier) == program


def test_settings_and_blocks_are_as_everywhere() -> None:
    script = read(
        "SET work_mem = '1MB';\n\\i quits.sql\nBEGIN; SELECT 1;\n\\echo x\nSELECT 2; COMMIT;"
    )
    assert [item.is_block for item in script.items] == [False, False, True]
    assert script.items[1].settings == ("SET work_mem = '1MB'",)


REFUSED = {
    "a shell": ("SELECT 1;\n\\! ls", "main.sql:2:1", "shell"),
    "a shell in backquotes": ("\\set v `ls`\nSELECT 1;", "main.sql:1:1", "shell"),
    "a shell for copy": ("\\copy t from program 'ls'\nSELECT 1;", "main.sql:1:1", "shell"),
    "another database": ("\\connect other", "main.sql:1:1", "one database"),
    "another database, for short": ("SELECT 1;  \\c other", "main.sql:1:12", "one database"),
    "a pipe": ("SELECT 1 \\g | less", "main.sql:1:10", "\\g |"),
    "output": ("\\o out.txt\nSELECT 1;", "main.sql:1:1", "standard output"),
    "a result": ("SELECT 1 AS a \\gset\n", "main.sql:1:15", "read before it runs"),
    "for people": ("\\dt\nSELECT 1;", "main.sql:1:1", "people"),
    "the environment": ("\\getenv home HOME", "main.sql:1:1", "environment"),
    "unknown": ("\\nonsense 1", "main.sql:1:1", "\\nonsense 1 is not supported"),
    "a file that is not there": ("\\i none.sql", "main.sql:1:1", "none.sql: no such file"),
    "a circle": ("\\i loop.sql", "loop.sql:1:1", "includes itself"),
    "no endif": ("SELECT 1;\n\\if true\n", "main.sql:2:1", "no \\endif"),
    "no endif in its own file": ("\\i open.sql\n\\endif", "open.sql:1:1", "no \\endif"),
    "no if": ("SELECT 1;\\endif", "main.sql:1:10", "without \\if"),
    "else after else": ("\\if 1\n\\else\n\\else\n\\endif", "main.sql:3:1", "without \\if"),
    "neither true nor false": ("\\if maybe\n\\endif", "main.sql:1:1", "'maybe' is neither"),
    "if inside of a statement": ("SELECT\n\\if 1\n1;\\endif", "main.sql:2:1", "in the middle"),
    "autocommit": ("\\set AUTOCOMMIT off\nSELECT 1;", "main.sql:1:1", "outside of BEGIN"),
    "encoding": ("\\encoding latin1\nSELECT 1;", "main.sql:1:1", "UTF-8"),
    "a quote without an end": ("\\echo 'a\nSELECT 1;", "main.sql:1:1", "unterminated"),
    "two statements at once": ("SELECT 1\\; SELECT 2;", "main.sql:1:1", "\\;"),
    "a syntax error": ("SELECT 1;\nSELECT\n  FROM FROM;", "main.sql:3:8", "syntax error"),
    "a syntax error in the first line": ("  SELEC 1;", "main.sql:1:3", "syntax error"),
    "copy in a block": ("BEGIN;\n\\copy t to f\nCOMMIT;", "main.sql:2:1", "inside of BEGIN"),
    "copy to the client": ("COPY t TO STDOUT;", "main.sql:1:1", "COPY"),
    "what psql itself was given": ("\\copy t from pstdin", "main.sql:1:1", "name the file"),
    "psql's own variable": ("SELECT 1,\n :'DBNAME';", "main.sql:2:2", "DBNAME is a variable"),
    "psql's own, tested": ("\\if :{?VERSION}\n\\endif", "main.sql:1:1", "VERSION is a variable"),
    "psql's own, shown": ("\\echo a :ROW_COUNT", "main.sql:1:1", "psql sets itself"),
    "a comment without an end": ("SELECT 1;\n /* a /* b */\n", "main.sql:2:2", "unterminated /*"),
    "pipelines": ("\\startpipeline", "main.sql:1:1", "what runs at once"),
    "nothing": ("\\echo a", None, "no SQL"),
}


@pytest.mark.parametrize(("text", "place", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refusals_name_the_place(text: str, place: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        texts(text)
    assert message in caught.value.message
    assert (str(caught.value.position) if caught.value.position else None) == place
    assert caught.value.hint or isinstance(caught.value, UsageError)


def test_what_stands_behind_copy_from_stdin_comes_after_its_lines() -> None:
    text = "COPY t FROM STDIN; COPY u FROM STDIN; SELECT 1;\n1\n\\.\n2\n\\.\nSELECT 2;\n"
    found = [(item.first.text, item.first.data) for item in read(text).items]
    assert found == [
        ("COPY t FROM STDIN", "1\n"),
        ("COPY u FROM STDIN", "2\n"),
        ("SELECT 1", None),
        ("SELECT 2", None),
    ]
    assert texts("COPY t FROM STDIN; -- SELECT 1;\n\\.\nSELECT 2;")[1:] == ["SELECT 2"]
    in_value = {"load": "COPY t FROM STDIN; SELECT 3;"}
    assert texts(":load SELECT 4;\n\\.\nSELECT 5;", **in_value)[1:] == [
        *("SELECT 3", "SELECT 4", "SELECT 5")
    ]


def test_one_of_psqls_own_variables_may_be_set() -> None:
    assert texts("\\set VERSION 5\nSELECT :VERSION, ':USER';") == ["SELECT 5, ':USER'"]
    assert texts("SELECT :USER;", USER="joe") == ["SELECT joe"]
    assert texts("\\if false\n\\echo :USER\nSELECT :HOST;\n\\endif\nSELECT 1;") == ["SELECT 1"]


def test_a_setting_of_psql_that_says_what_holds_anyway_is_fine() -> None:
    assert texts("\\set AUTOCOMMIT on\n\\set ON_ERROR_STOP 1\nSELECT 1;") == ["SELECT 1"]
    with pytest.raises(UnsupportedError):
        texts("\\set ON_ERROR_ROLLBACK on\nSELECT 1;")


def test_a_long_script_is_read_in_one_pass() -> None:
    """20,000 statements: every place is found by an index, not by counting from the top."""
    script = read("".join(f"SELECT {n};\n" for n in range(20_000)))
    assert str(script.items[-1].first.position) == "main.sql:20000:1"
