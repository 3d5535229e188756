"""What is read of a script of which some tasks do not run; no server is asked."""

from __future__ import annotations

from pgfan.postgres.feed import DatabaseNow, ScriptFeed
from pgfan.postgres.generated_rows import GeneratedRows
from pgfan.postgres.session import PostgresSession
from pgfan.sql.accesses import accesses_of
from pgfan.sql.agenda import Agenda
from pgfan.sql.known import KnownObjects
from pgfan.sql.program import Program, Source, read_of_folder

KNOWN = KnownObjects(schemas=frozenset({"public", "s"}))


def made_by(program: Program) -> list[str]:
    """The objects that the tasks of a program define, as its feed reads them."""
    agenda = Agenda(program.items, program.numbers)
    made_of = GeneratedRows(PostgresSession(""), None, "run")
    feed = ScriptFeed(agenda, DatabaseNow(lambda: KNOWN), {}, made_of, program.passed_over)
    feed.segment()
    return [
        str(effect.object)
        for number in agenda.order
        for effect in feed.accesses[number].effects
        if effect.kind == "define"
    ]


def folder(**files: str) -> Program:
    sources = [Source(f"{name}.sql", text) for name, text in files.items()]
    scripts = [read_of_folder("f", source, {}, str) for source in sources]
    return Program.of_folder("f", sources, {}, scripts)


def test_settings_of_tasks_that_do_not_run_count() -> None:
    text = "SET search_path = s; CREATE TABLE a (); CREATE TABLE b (); RESET search_path;"
    whole = Program.read_psql([Source("a.sql", f"{text} CREATE TABLE c ();")], {}, str)
    assert made_by(whole) == ["s.a", "s.b", "public.c"]
    assert made_by(whole.chosen({2})) == ["s.b"]
    assert made_by(whole.chosen({1, 4})) == ["s.a", "public.c"]


def test_settings_of_a_block_count_as_it_ends() -> None:
    block = "BEGIN; SET search_path = s; CREATE TABLE a (); {}; CREATE TABLE b ();"
    for end, made in (("COMMIT", "s.b"), ("ROLLBACK", "public.b")):
        program = Program.read_psql([Source("a.sql", block.format(end))], {}, str)
        assert made_by(program.chosen({1})) == [made]


def test_settings_of_another_file_of_a_folder_do_not() -> None:
    whole = folder(a="SET search_path = s; CREATE TABLE a ();", b="CREATE TABLE b ();")
    assert made_by(whole) == ["s.a", "public.b"]
    assert made_by(whole.chosen({2})) == ["public.b"]
    assert made_by(whole.chosen({1, 2})) == ["s.a", "public.b"]


def test_what_makes_statements_holds_up_all_others_until_they_are_known() -> None:
    text = "SELECT 'CREATE TABLE t (i int)' \\gexec\nSELECT 1;"
    program = Program.read_psql([Source("a.sql", text)], {}, str)
    first, second = accesses_of(program.items, KnownObjects())
    assert (first.barrier is not None, second.barrier) == (True, None)
