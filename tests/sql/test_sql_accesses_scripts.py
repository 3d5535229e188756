"""What a script has made or set decides what its later statements touch."""

from __future__ import annotations

import pytest
from accesses_known import KNOWN
from accesses_text import statement, written

from pgfan.sql.accesses import ScriptAccesses, mentions_currval
from pgfan.sql.effects import ObjectName, annotated
from pgfan.sql.known import KnownObjects, KnownRelation
from pgfan.sql.script import read_script

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


TRIGGER = """
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO log VALUES (NEW.a); RETURN NEW; END $$;
CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
"""

# A script, and what its last statement touches.
SCRIPTS = [
    # Views.
    ("CREATE VIEW v AS SELECT * FROM t; SELECT * FROM v", "read t v"),
    ("CREATE VIEW v AS SELECT * FROM t; CREATE VIEW x AS TABLE v; SELECT * FROM x", "read t v x"),
    ("CREATE VIEW v AS TABLE t; CREATE OR REPLACE VIEW v AS TABLE u; TABLE v", "read u v"),
    ("CREATE VIEW v AS TABLE t; DROP VIEW v; TABLE v", "read v"),
    ("CREATE VIEW v AS TABLE t; DROP TABLE t CASCADE", "drop t v"),
    ("CREATE VIEW v AS SELECT a FROM t; DELETE FROM v", "modify t v; read t"),
    ("CREATE MATERIALIZED VIEW m AS TABLE t; TABLE m", "read m"),
    ("CREATE MATERIALIZED VIEW m AS TABLE t; REFRESH MATERIALIZED VIEW m", "modify m; read t"),
    # Names that follow their object.
    ("CREATE TABLE t (); CREATE VIEW v AS TABLE t; ALTER TABLE t RENAME TO t2; TABLE v", "read t2 v"),
    (
        "CREATE TABLE t (); CREATE VIEW v AS TABLE t; ALTER TABLE t RENAME TO t2;"
        "CREATE TABLE t (); INSERT INTO t DEFAULT VALUES",
        "append t",
    ),
    (
        "CREATE SCHEMA s; CREATE TABLE t (id serial); ALTER TABLE t SET SCHEMA s;"
        "INSERT INTO s.t DEFAULT VALUES",
        "append s.t; modify s.t_id_seq",
    ),
    (
        "CREATE SEQUENCE q; CREATE TABLE t (a int DEFAULT nextval('q'));"
        "ALTER SEQUENCE q RENAME TO r; INSERT INTO t DEFAULT VALUES",
        "append t; modify r",
    ),
    # Triggers and functions.
    (f"CREATE TABLE t (a int); {TRIGGER} INSERT INTO t VALUES (1)", "append log t; read function:note"),
    (f"CREATE TABLE t (a int); {TRIGGER} COPY t FROM '/x'",
     "append log t; read file:/x function:note"),
    (
        f"CREATE TABLE t (a int); {TRIGGER} ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (1)",
        "append log u; read function:note",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM t';"
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM u'; SELECT f()",
        "read function:f u",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM t';"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM u'; SELECT f()",
        "read function:f t u",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM t'; DROP FUNCTION f();"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM u'; SELECT f(1)",
        "read function:f u",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN g(); END';"
        "CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN f() FROM t; END';"
        "SELECT f()",
        "read function:f function:g t",
    ),
    (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 FROM t; END;"
        "SET search_path = s; SELECT public.f()",
        "read function:f t",
    ),
    (
        "CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE t ();"
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t';"
        "SET search_path = s, public; SELECT f()",
        "read function:f s.t; use function:s.f",
    ),
    (
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (f(a)) STORED); "
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT a FROM u'; SELECT f(1)",
        "read function:f u",
    ),
    # Constraints.
    (
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (a int REFERENCES p); DELETE FROM p",
        "modify p; read c",
    ),
    (
        "CREATE TABLE p (a int PRIMARY KEY);"
        "CREATE TABLE c (a int REFERENCES p ON DELETE SET NULL); DELETE FROM p",
        "modify c p; read p",
    ),
    ("CREATE TABLE t (a int, up int REFERENCES t); INSERT INTO t VALUES (1, 1)", "append t; read t"),
    (
        "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p;"
        "ALTER TABLE t DROP CONSTRAINT k; INSERT INTO t VALUES (1)",
        "append t",
    ),
    # Sequences.
    ("CREATE TABLE t (id serial); DROP TABLE t", "drop t t_id_seq"),
    (
        "CREATE TABLE t_id_seq (); CREATE TABLE t (id serial); INSERT INTO t DEFAULT VALUES",
        "append t; modify t_id_seq1",
    ),
    ("CREATE TABLE t (id serial, a int); INSERT INTO t VALUES (1, 2)", "append t"),
    (
        "CREATE TABLE t (id serial, a int); ALTER TABLE t ALTER id DROP DEFAULT;"
        "INSERT INTO t (a) VALUES (2)",
        "append t",
    ),
    (
        "CREATE TABLE t (id serial, a int); CREATE TABLE n (LIKE t INCLUDING DEFAULTS);"
        "INSERT INTO n (a) VALUES (2)",
        "append n; modify t_id_seq",
    ),
    # Partitions and children.
    (
        "CREATE TABLE p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p1 VALUES (1)",
        "append p1 part:p",
    ),
    (
        "CREATE TABLE p (id serial, a int) PARTITION BY LIST (a);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p1 (a) VALUES (1)",
        "append p1 part:p; modify p_id_seq",
    ),
    (
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 (a int);"
        "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1); DELETE FROM p1",
        "modify p1 part:p",
    ),
    (
        "CREATE TABLE p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "ALTER TABLE p DETACH PARTITION p1; DELETE FROM p1",
        "modify p1",
    ),
    ("CREATE TABLE a (i int); CREATE TABLE b () INHERITS (a); DROP TABLE b", "alter part:a; drop b part:a"),
    # search_path and what hides what.
    ("SET search_path = s; SELECT * FROM t", "read ?.t"),
    ("CREATE SCHEMA s; SET search_path = s; SELECT * FROM t", "read s.t"),
    ("CREATE SCHEMA s; SET search_path = s, public; SELECT * FROM t", "read s.t t"),
    (
        "CREATE SCHEMA s; CREATE TABLE t (); SET search_path = s, public; SELECT * FROM t",
        "read t; use s.t",
    ),
    ("CREATE SCHEMA s; SET search_path = s, public; CREATE TABLE t ()", "define s.t; use schema:s"),
    ("CREATE SCHEMA s; SET search_path = s; RESET search_path; TABLE t", "read t"),
    ("CREATE SCHEMA s; SET search_path = s; RESET ALL; TABLE t", "read t"),
    ("CREATE SCHEMA s; SET search_path = s; SET search_path TO DEFAULT; TABLE t", "read t"),
    ("CREATE SCHEMA s; SELECT set_config('search_path', '\"s\"', false); TABLE t", "read s.t"),
    ("CREATE SCHEMA s; BEGIN; SET LOCAL search_path = s; COMMIT; TABLE t", "read t"),
    ("CREATE SCHEMA s; BEGIN; SET LOCAL search_path = s; TABLE t; COMMIT", "read s.t"),
    ("CREATE SCHEMA s; BEGIN; SET search_path = s; ROLLBACK; TABLE t", "read t"),
    (
        "CREATE SCHEMA s; BEGIN; SAVEPOINT a; SET search_path = s; ROLLBACK TO a; COMMIT; TABLE t",
        "read ?.t",
    ),
    ("SELECT set_config('search_path', x, false) FROM u; TABLE t",
     "read t | barrier not-refreshed | session temporary"),
    # Temporary objects hide others, and need their connection.
    ("CREATE TEMP TABLE t (); INSERT INTO t DEFAULT VALUES", "append pg_temp.t | session temporary"),
    ("CREATE TEMP TABLE t (); SELECT * FROM public.t", "read t"),
    ("CREATE TEMP TABLE t (); DROP TABLE t; SELECT * FROM t", "read t"),
    ("BEGIN; CREATE TEMP TABLE t () ON COMMIT DROP; COMMIT; SELECT * FROM t", "read t"),
    ("CREATE TEMP TABLE t (); CREATE VIEW v AS TABLE t",
     "define pg_temp.v; use pg_temp.t | session temporary"),
    # Blocks are the union of their statements; what is rolled back was never made.
    ("BEGIN; INSERT INTO t VALUES (1); TABLE u; COMMIT", "append t; read u"),
    ("BEGIN; CREATE VIEW v AS TABLE t; ROLLBACK; TABLE v", "read v"),
    (
        "CREATE VIEW v AS TABLE t; BEGIN; CREATE OR REPLACE VIEW v AS TABLE u; ROLLBACK; TABLE v",
        "read t v",
    ),
    ("BEGIN; CREATE TABLE a (); SAVEPOINT x; ROLLBACK TO x; COMMIT",
     "define a; use schema:public | barrier catalogue, opaque"),
    # Prepared statements.
    ("PREPARE q AS INSERT INTO t VALUES (1); EXECUTE q", "append t | session prepared"),
    ("PREPARE q AS TABLE t; CREATE TABLE n AS EXECUTE q",
     "define n; read t; use schema:public | session prepared"),
    ("PREPARE q AS TABLE t; DEALLOCATE q; EXECUTE q",
     "barrier statement-unknown, opaque | session prepared"),
    # Types.
    ("CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (a e); INSERT INTO t VALUES ('a')",
     "append t; read type:e; use type:e"),
    (
        "CREATE FUNCTION f(int) RETURNS bool LANGUAGE sql AS 'SELECT true FROM u';"
        "CREATE DOMAIN d AS int CHECK (f(VALUE)); CREATE TABLE t (a d); INSERT INTO t VALUES (1)",
        "append t; read function:f type:d u; use type:d",
    ),
    # What PostgreSQL's own name meant so far.
    ("SELECT lower('A'); CREATE FUNCTION lower(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
     "define function:lower; use schema:public | barrier name-hidden"),
    ("CREATE TABLE t (a date); CREATE TYPE date AS ENUM ()",
     "define type:date; use schema:public | barrier name-hidden"),
    ("CREATE SCHEMA s; SET search_path = s; DROP SCHEMA s",
     "drop schema:s | barrier name-hidden"),
    # random() goes on where it was seeded.
    ("SELECT setseed(0.5); INSERT INTO t SELECT random()", "append t | session seed"),
    ("INSERT INTO t SELECT random()", "append t"),
]  # fmt: skip


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
