"""Where pgfan connects to, as whom, and what it says when it cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pgfan_command import pgfan, pgfan_here
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfan.errors import UsageError
from pgfan.ports import Result
from pgfan.postgres.server import probe_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.postgres.embedded import EmbeddedServer

WHO = "SELECT current_user, current_database()"
SECRET = "hunter2"


def parts_of(dsn: str) -> dict[str, str]:
    return {name: str(text) for name, text in conninfo_to_dict(dsn).items()}


def test_libpqs_environment(dsn18: str) -> None:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    environ = {names[name]: text for name, text in parts_of(dsn18).items()}
    ended = pgfan("exec", "-q", "-c", WHO, environ=environ)
    assert (ended.code, parts_of(dsn18)["dbname"] in ended.out) == (0, True), ended.err


def test_a_connection_string_wins_over_the_environment(dsn18: str) -> None:
    environ = {"PGHOST": "/nonexistent", "PGUSER": "nobody", "PGDATABASE": "nothing"}
    assert pgfan("exec", "-q", "-d", dsn18, "-c", WHO, environ=environ).code == 0


def test_a_uri(dsn18: str) -> None:
    parts = parts_of(dsn18)
    host = parts["host"].replace("/", "%2F")
    uri = f"postgresql://{parts['user']}@{host}:{parts['port']}/{parts['dbname']}?connect_timeout=3"
    ended = pgfan("exec", "-q", "-d", uri, "-c", WHO)
    assert (ended.code, parts["dbname"] in ended.out) == (0, True), ended.err
    assert "warning" not in ended.err


def test_several_hosts(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    parts = parts_of(dsn18)
    dsn = make_conninfo(dsn18, host=f"/nonexistent,{parts['host']}", port="5432,5432")
    assert pgfan_here(capsys, "exec", "-q", "-d", dsn, "-c", WHO).code == 0


def test_a_service_file(dsn18: str, tmp_path: Path) -> None:
    lines = "\n".join(f"{name}={text}" for name, text in parts_of(dsn18).items())
    service = tmp_path / "services.conf"
    service.write_text(f"[ours]\n{lines}\noptions=-c work_mem=7MB\n")
    environ = {"PGSERVICEFILE": str(service)}
    sql = "SELECT current_setting('work_mem')"
    by_name = pgfan("exec", "-q", "-d", "service=ours", "-c", sql, environ=environ)
    by_environment = pgfan("exec", "-q", "-c", sql, environ=environ | {"PGSERVICE": "ours"})
    for ended in (by_name, by_environment):
        assert (ended.code, "7MB" in ended.out) == (0, True), ended.err
    missing = pgfan("exec", "-d", "service=theirs", "-c", WHO, environ=environ)
    assert missing.code == 3
    assert missing.err.startswith('error: definition of service "theirs" not found\nHINT: ')
    assert "service file" in missing.err


def test_options_of_the_environment(dsn18: str) -> None:
    ended = pgfan(
        *("exec", "-q", "-d", dsn18, "-c", "SHOW work_mem"),
        environ={"PGOPTIONS": "-c work_mem=9MB", "PGAPPNAME": "mine"},
    )
    assert "9MB" in ended.out


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "exec", "-d", "host=/nonexistent", "-c", "SELECT 1")
    assert (ended.code, ended.out) == (3, "")
    assert "HINT: check host, port" in ended.err
    refused = pgfan_here(capsys, "exec", "-d", "host=127.0.0.1 port=1", "-c", "SELECT 1")
    assert (refused.code, "refused" in refused.err) == (3, True)


def test_no_such_database_or_role(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    for wrong in (make_conninfo(dsn18, dbname="nothing"), make_conninfo(dsn18, user="nobody")):
        ended = pgfan_here(capsys, "exec", "-d", wrong, "-c", "SELECT 1")
        assert (ended.code, "does not exist" in ended.err) == (3, True)
        # What psycopg adds to libpq's words says nothing more.
        assert ended.err.startswith("error: connection to server on socket")
        assert f"HINT: check the {'user' if 'role' in ended.err else 'name'}" in ended.err


@pytest.fixture
def guarded(server18: EmbeddedServer, dsn18: str) -> Iterator[str]:
    """A database whose role `keyed` must give its password."""
    hba = server18.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE keyed LOGIN SUPERUSER PASSWORD '{SECRET}'")
        hba.write_text(f"local all keyed scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield make_conninfo(dsn18, user="keyed")
        finally:
            hba.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP OWNED BY keyed")
            connection.execute("DROP ROLE keyed")


def test_passwords(guarded: str, tmp_path: Path) -> None:
    wrong = pgfan("exec", "-d", guarded, "-c", WHO, environ={"PGPASSWORD": "wrong"})
    none = pgfan("exec", "-d", guarded, "-c", WHO)
    for ended in (wrong, none):
        assert (ended.code, ended.out) == (3, "")
        assert "password" in ended.err
        assert "HINT: check user and password: pgfan reads .pgpass" in ended.err
    right = pgfan("exec", "-q", "-d", guarded, "-c", WHO, environ={"PGPASSWORD": SECRET})
    assert (right.code, "keyed" in right.out) == (0, True), right.err
    passfile = tmp_path / "passwords"
    passfile.write_text(f"*:*:*:keyed:{SECRET}\n")
    passfile.chmod(0o600)
    script = "CREATE TABLE t AS SELECT generate_series(1, 100) AS i; SELECT current_user"
    by_file = pgfan(
        *("exec", "-q", "-d", guarded, "--jobs", "3", "-c", script),
        environ={"PGPASSFILE": str(passfile)},
    )
    assert (by_file.code, "keyed" in by_file.out) == (0, True), by_file.err


def test_a_password_on_the_command_line_is_shown_to_nobody(guarded: str, tmp_path: Path) -> None:
    parts = parts_of(guarded)
    host = parts["host"].replace("/", "%2F")
    uri = f"postgresql://keyed:{SECRET}@{host}:{parts['port']}/{parts['dbname']}"
    log = tmp_path / "log"
    shown = ""
    runs = {
        uri: ("SELECT 1 AS one", 0),
        f"{guarded} password={SECRET}": ("SELECT nowhere", 1),
        uri.replace(f":{SECRET}", "") + f"?password={SECRET}": ("CREATE TABLE", 2),
        uri.replace("keyed:", "nobody:"): ("SELECT 1", 3),
        f"{uri}x": ("SELECT 1", 3),
    }
    for dsn, (script, code) in runs.items():
        ended = pgfan("exec", "-v", "--json", "-d", dsn, "--log-file", log, "-c", script)
        assert ended.code == code, ended.err
        assert "warning: a password on the command line" in ended.err
        shown += ended.out + ended.err
    with psycopg.connect(guarded, password=SECRET) as connection:
        rows = connection.execute(
            "SELECT (SELECT json_agg(r)::text FROM pgfan.run r) || "
            "(SELECT json_agg(t)::text FROM pgfan.task t)"
        ).fetchone()
    assert rows is not None
    assert SECRET not in shown + log.read_text() + rows[0]


def test_a_folder_that_holds_something_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    ended = pgfan_here(capsys, "exec", "--embedded", tmp_path, "-c", "SELECT 1")
    assert (ended.code, ended.out) == (2, "")
    assert str(tmp_path) in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    in_a_file = pgfan_here(capsys, "exec", "--embedded", tmp_path / "thesis.tex", "-c", "SELECT 1")
    assert (in_a_file.code, "Traceback" in in_a_file.err) == (2, False)


def test_the_embedded_server(made18: Path) -> None:
    sql = "CREATE TABLE t AS SELECT 1 AS i; SELECT current_user, current_database()"
    ended = pgfan("exec", "-q", "--embedded", made18, "-c", sql)
    assert (ended.code, ended.out.split().count("postgres")) == (0, 2), ended.err
    assert not (made18 / "data" / "postmaster.pid").exists()
    again = pgfan("exec", "-q", "--embedded", made18, "-c", "TABLE t")
    assert again.code == 0
    both = pgfan("exec", "--embedded", made18, "-d", "host=/nonexistent", "-c", "SELECT 1")
    assert both.code == 2


class OldServer:
    """Answers the probe as a server of another kind would."""

    backend_pid = 7

    def __init__(self, **changes: str) -> None:
        names = ("version", "number", "standby", "pid", "strings", "citus", "free", "db", "user")
        usual = ("PostgreSQL 18.1 on x", "180001", "f", "7", "on", "f", "90", "d", "u")
        self._row = tuple((dict(zip(names, usual, strict=True)) | changes).values())

    def execute(self, _: str) -> Sequence[Result]:
        return [Result("SELECT 1", tuple("x" * len(self._row)), (), [self._row])]


REFUSED = {
    "too old": ({"version": "PostgreSQL 13.9 on y", "number": "130009"}, "PostgreSQL 13.9;"),
    "standby": ({"standby": "t"}, "standby"),
    "pooler": ({"pid": "8"}, "pooler"),
    "old strings": ({"strings": "off"}, "standard_conforming_strings"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=list(REFUSED))
def test_servers_that_are_refused(changes: dict[str, str], said: str) -> None:
    session: Any = OldServer(**changes)
    with pytest.raises(UsageError, match=said) as caught:
        probe_server(session)
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes", [{"citus": "t"}, {"version": "PostgreSQL 15.2-YB-2.25 on z"}, {"version": "Other 1"}]
)
def test_servers_on_which_nothing_is_split(changes: dict[str, str]) -> None:
    session: Any = OldServer(**changes)
    assert probe_server(session).refuses_split
    plain: Any = OldServer()
    assert probe_server(plain).refuses_split is None


def test_a_home_that_is_nowhere(dsn18: str) -> None:
    """No home, no name for the user, a working folder that cannot be written."""
    ended = pgfan("exec", "-q", "-d", dsn18, "-c", "SELECT 1", folder=Path(os.sep))
    assert ended.code == 0, ended.err
