"""What a script has made or set decides what its later statements touch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accesses_known import KNOWN
from accesses_text import statement, written

from pgfan.sql.accesses import ScriptAccesses, mentions_currval
from pgfan.sql.effects import ObjectName, annotated
from pgfan.sql.known import KnownColumn, KnownObjects, KnownRelation
from pgfan.sql.script import read_script

if TYPE_CHECKING:
    from collections.abc import Iterator

EMPTY = KnownObjects(user="joe")


def read(script: str, known: KnownObjects = EMPTY, *, calls_currval: bool = False) -> list[str]:
    """The accesses of each item, on one line."""
    accesses = ScriptAccesses(known, calls_currval=calls_currval)
    found = []
    for item in read_script(script, "a test"):
        trees = [one.tree for one in item.statements]
        found.append(" | ".join(written(accesses.read(trees, rolls_back=item.rolls_back))))
    return found


def last(script: str, known: KnownObjects = EMPTY) -> str:
    return read(script, known)[-1]


def scripts() -> Iterator[tuple[str, str]]:
    """The scripts of accesses_scripts.txt, and the indented line below each."""
    lines: list[str] = []
    for line in (Path(__file__).parent / "accesses_scripts.txt").read_text().splitlines():
        if line.startswith("    "):
            yield "\n".join(lines), line.strip()
            lines = []
        elif line and not line.startswith("#"):
            lines.append(line)


SCRIPTS = list(scripts())


@pytest.mark.parametrize(("script", "expected"), SCRIPTS, ids=[script for script, _ in SCRIPTS])
def test_what_the_last_statement_of_a_script_touches(script: str, expected: str) -> None:
    assert last(script) == expected


def test_after_an_opaque_statement_all_are_barriers_until_refreshed() -> None:
    accesses = ScriptAccesses(EMPTY)
    assert accesses.read([statement("CREATE EXTENSION hstore")]).is_opaque
    for _ in range(2):
        found = accesses.read([statement("SELECT * FROM t")])
        assert (found.barrier and found.barrier.code) == "not-refreshed"
        assert not found.is_opaque
    view = KnownRelation(("public", "t"), "view", definition="SELECT * FROM public.u")
    accesses.refresh(KnownObjects(relations=(view,)))
    assert written(accesses.read([statement("SELECT * FROM t")])) == ["read t u"]


def test_a_refresh_keeps_the_session() -> None:
    accesses = ScriptAccesses(EMPTY)
    for sql in ("CREATE TEMP TABLE t ()", "SET search_path = s", "CREATE EXTENSION hstore"):
        accesses.read([statement(sql)])
    accesses.refresh(KnownObjects(schemas=frozenset({"s"})))
    assert written(accesses.read([statement("TABLE t")]))[0] == "read pg_temp.t"
    assert written(accesses.read([statement("TABLE u")])) == ["read s.u"]


def test_another_session_has_its_own_settings_and_temporary_objects() -> None:
    accesses = ScriptAccesses(EMPTY)
    for sql in ("CREATE SCHEMA s", "CREATE TEMP TABLE t ()", "SET search_path = s"):
        accesses.read([statement(sql)])
    accesses.read([statement("CREATE VIEW v AS TABLE public.u")])
    accesses.new_session()
    assert written(accesses.read([statement("TABLE t")])) == ["read t"]
    assert written(accesses.read([statement("TABLE s.v")])) == ["read s.v u"]


def test_who_draws_from_a_sequence_shares_a_connection_where_currval_is_called() -> None:
    script = "CREATE TABLE t (id serial); INSERT INTO t DEFAULT VALUES; SELECT currval('t_id_seq')"
    assert mentions_currval(script)
    assert read(script, calls_currval=True)[1:] == [
        "append t; modify t_id_seq | session sequence-value",
        "session sequence-value",
    ]
    assert read(script)[1] == "append t; modify t_id_seq"
    by_expression = "SELECT setval(x, 7) FROM t"
    assert read(by_expression, calls_currval=True) == [
        "read t | barrier name-hidden | session sequence-value"
    ]


def test_a_view_of_another_role_reads_that_ones_rights() -> None:
    view = KnownRelation(
        ("public", "v"), "view", definition="SELECT a FROM public.t", is_others=True
    )
    assert last("TABLE v", KnownObjects(relations=(view,))) == "read role:* t v"


def test_columns_of_a_known_composite_type_use_it() -> None:
    row = KnownRelation(("public", "y"), "composite type")
    table = KnownRelation(("public", "t"), columns=(KnownColumn("a", type=("public", "y")),))
    assert last("INSERT INTO t VALUES (NULL)", KnownObjects(relations=(row, table))) == (
        "append t; use y"
    )


def test_event_triggers_run_at_every_definition() -> None:
    known = KnownObjects(
        functions=KNOWN.functions,
        event_triggers=(("public", "dyn"),),
    )
    assert "barrier dynamic-sql, opaque" in last("CREATE TABLE n ()", known)
    assert last("INSERT INTO n VALUES (1)", known) == "append n"


def test_casts_are_applied_where_no_syntax_shows_them() -> None:
    known = KnownObjects(
        functions=KNOWN.functions, casts=(("public", "f"), ("public", "native_immutable"))
    )
    assert last("INSERT INTO n VALUES (1)", known) == (
        "append n; read function:f function:native_immutable u"
    )


def test_a_directive_stands_in_for_what_could_not_be_read() -> None:
    accesses = ScriptAccesses(KNOWN).read([statement("SELECT dyn() FROM t")])
    reads, writes = ObjectName("relation", "s", "x"), ObjectName("relation", "public", "w")
    assert written(annotated(accesses, [reads], [writes])) == ["modify w; read function:dyn s.x t"]
