"""Small scripts in the orders that the DAG allows: the same database as in program order.

PGFAN_ORDERS_MAX=15000 tries all orders of all of them.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.plan.graph import Sequencer, Step
from pgfan.sql.accesses import ScriptAccesses, mentions_currval
from pgfan.sql.known import KnownObjects
from pgfan.sql.script import ScriptItem, read_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ORDERS_MAX = int(os.environ.get("PGFAN_ORDERS_MAX", "250"))
"""Scripts that allow no more have all of their orders tried."""
ORDERS_SAMPLED = 7
"""Tried of the others."""

SCRIPTS = {
    "loads, an index, a reader": """
        CREATE TABLE t (a int); CREATE TABLE u (a int);
        INSERT INTO t SELECT generate_series(1, 9); INSERT INTO t VALUES (100);
        CREATE INDEX ON t (a); CREATE INDEX ON t (a);
        INSERT INTO u SELECT sum(a) FROM t; INSERT INTO t VALUES (7); ANALYZE t;
        INSERT INTO u SELECT count(*) FROM t; COMMENT ON TABLE t IS 'x'; DROP TABLE u;
        CREATE TABLE u AS SELECT max(a) FROM t;
    """,
    "a view over what changes": """
        CREATE TABLE t (a int); CREATE VIEW v AS SELECT sum(a) AS s FROM t;
        INSERT INTO t VALUES (1);
        CREATE TABLE x AS SELECT * FROM v; INSERT INTO t VALUES (2); CREATE TABLE y AS TABLE v;
        CREATE OR REPLACE VIEW v AS SELECT min(a)::bigint AS s FROM t; CREATE TABLE z AS TABLE v;
    """,
    "a trigger that comes late": """
        CREATE TABLE t (a int); CREATE TABLE log (a int, n int); INSERT INTO t VALUES (1);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO log SELECT NEW.a, count(*) FROM log; RETURN NEW; END $$;
        CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
        INSERT INTO t VALUES (2); INSERT INTO t VALUES (3); DELETE FROM log WHERE a = 2;
        INSERT INTO t VALUES (4);
    """,
    "foreign keys": """
        CREATE TABLE p (a int PRIMARY KEY); INSERT INTO p VALUES (1), (2), (3);
        CREATE TABLE c (a int REFERENCES p ON DELETE CASCADE); INSERT INTO c VALUES (1), (2);
        CREATE TABLE counts AS SELECT count(*) FROM c; DELETE FROM p WHERE a = 1;
        INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);
        INSERT INTO counts SELECT count(*) FROM c;
        CREATE TABLE far (a int REFERENCES p); INSERT INTO far SELECT 3;
        SELECT count(*) FROM counts;
    """,
    "serial columns": """
        CREATE TABLE t (id serial, b text); CREATE TABLE u (id serial, b text);
        INSERT INTO t (b) VALUES ('x'); INSERT INTO u (b) VALUES ('x');
        INSERT INTO t (b) VALUES ('y');
        INSERT INTO t (id, b) VALUES (50, 'own'); SELECT setval('u_id_seq', 7);
        INSERT INTO u (b) VALUES ('y'); INSERT INTO t (b) SELECT b FROM u WHERE id = 8;
    """,
    "partitions": """
        CREATE TABLE p (a int, b int) PARTITION BY LIST (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p1 VALUES (1, 1);
        CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); INSERT INTO p2 VALUES (2, 2);
        UPDATE p1 SET b = b + 10; INSERT INTO p VALUES (1, 5), (2, 6);
        CREATE TABLE s AS SELECT sum(b) FROM p; UPDATE p2 SET b = 0;
        ALTER TABLE p DETACH PARTITION p1;
        INSERT INTO s SELECT sum(b) FROM p;
    """,
    "names that change": """
        CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT * FROM t;
        ALTER TABLE t RENAME TO old; CREATE TABLE t (a int); INSERT INTO t VALUES (2);
        CREATE TABLE x AS SELECT * FROM v; INSERT INTO x SELECT * FROM t;
        INSERT INTO old VALUES (3);
        INSERT INTO x SELECT 10 * a FROM v;
    """,
    "search_path": """
        CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE s.t (a int); CREATE TABLE t (a int);
        CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t';
        INSERT INTO t VALUES (1), (2); INSERT INTO s.t VALUES (3);
        CREATE TABLE x AS SELECT f() AS n; INSERT INTO s.t VALUES (4); INSERT INTO x SELECT f();
        DROP TABLE s.t; CREATE TABLE s.t AS SELECT f(); DROP SCHEMA s CASCADE;
    """,
    "functions that call functions": """
        CREATE TABLE t (a int); CREATE TABLE x (a int);
        CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (g());
        RETURN (SELECT count(*) FROM t); END $$;
        INSERT INTO x SELECT f(); INSERT INTO t VALUES (9); INSERT INTO x SELECT f();
        CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 2';
        INSERT INTO x SELECT f();
        SELECT f();
    """,
    "conflicts and updates": """
        CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y');
        INSERT INTO t VALUES (1, 'lost') ON CONFLICT DO NOTHING; INSERT INTO t VALUES (3, 'z');
        INSERT INTO t VALUES (3, 'won') ON CONFLICT (a) DO UPDATE SET b = excluded.b || t.b;
        UPDATE t SET b = b || a; MERGE INTO t USING (VALUES (2), (4)) q (a) ON t.a = q.a
        WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (q.a, 'm'); TRUNCATE t;
        INSERT INTO t VALUES (1, 'last'); CREATE TABLE u AS SELECT 1 AS a; CREATE VIEW v AS TABLE t;
        INSERT INTO u SELECT a FROM v;
    """,
    "blocks": """
        CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1); CREATE TABLE n AS TABLE t; COMMIT;
        BEGIN; DELETE FROM t; DROP TABLE n; ROLLBACK; INSERT INTO n SELECT * FROM t;
        BEGIN; CREATE TEMP TABLE w ON COMMIT DROP AS TABLE n; INSERT INTO t SELECT 5 * a FROM w;
        COMMIT;
        INSERT INTO n SELECT sum(a) FROM t; CREATE VIEW v AS TABLE t; CREATE VIEW v2 AS TABLE n;
    """,
    "temporary tables, currval and random": """
        CREATE TABLE t (id serial, r float); SELECT setseed(0.5); INSERT INTO t (r) SELECT random();
        CREATE TEMP TABLE w AS SELECT * FROM t; INSERT INTO t (r) SELECT random();
        INSERT INTO t SELECT currval('t_id_seq') * 100, r FROM w; DROP TABLE w;
        CREATE TABLE w (a int);
        INSERT INTO w VALUES (1);
    """,
    "composite types, and variables of them": """
        CREATE DOMAIN d AS int; CREATE TYPE one AS (a d); CREATE TYPE two AS (b one, c int);
        CREATE TABLE t (x two); CREATE TABLE u (x one); INSERT INTO u VALUES (ROW(1));
        CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ DECLARE a u%ROWTYPE; b one; c d;
        BEGIN b := (SELECT x FROM u WHERE (x).a = 1); INSERT INTO t VALUES (ROW(b, 1));
        RETURN 1; END $$;
        SELECT f(); ALTER TYPE one ADD ATTRIBUTE z text; INSERT INTO u VALUES (ROW(2, 'z'));
        SELECT f(); INSERT INTO t VALUES (ROW(ROW(3, 'y'), 2)); DROP FUNCTION f(); DROP TABLE t;
        ALTER TYPE two DROP ATTRIBUTE c; DROP TYPE two; ALTER TYPE one DROP ATTRIBUTE z;
        INSERT INTO u VALUES (ROW(4));
    """,
    "types and domains": """
        CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (x e); INSERT INTO t VALUES ('a');
        ALTER TYPE e ADD VALUE 'b'; INSERT INTO t VALUES ('b'); CREATE TABLE ok (a int);
        INSERT INTO ok VALUES (1); CREATE FUNCTION is_ok(int) RETURNS bool LANGUAGE sql AS
        'SELECT EXISTS (SELECT FROM ok WHERE a = $1)'; CREATE DOMAIN d AS int CHECK (is_ok(VALUE));
        CREATE TABLE u (a d); INSERT INTO u VALUES (1); INSERT INTO ok VALUES (2);
        INSERT INTO u VALUES (2); DELETE FROM ok;
    """,
}

CONTENT = """
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'relation', oid::regclass::text, relkind::text, obj_description(oid, 'pg_class')
FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), ''
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'view', viewname::text, definition, '' FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'function', oid::regprocedure::text, prosrc, '' FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', pg_get_triggerdef(oid), '', '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'schema', nspname::text, '', '' FROM pg_namespace WHERE nspname !~ '^pg_'
ORDER BY 1, 2, 3, 4
"""


ROWS = """
SELECT format('SELECT %L, %s::text FROM %s x ORDER BY 2', oid::regclass,
  CASE relkind WHEN 'S' THEN '(last_value, is_called)' ELSE 'x' END, oid::regclass)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S', 'v')
ORDER BY relname
"""


def steps_of(script: str) -> tuple[list[ScriptItem], list[Step[int]]]:
    items = list(read_script(script, "a test"))
    accesses = ScriptAccesses(KnownObjects(user="postgres"), calls_currval=mentions_currval(script))
    sequencer: Sequencer[int] = Sequencer()
    steps: list[Step[int]] = []
    for number, item in enumerate(items):
        found = accesses.read([s.tree for s in item.statements], rolls_back=item.rolls_back)
        steps += sequencer.add(number, found)
    return items, steps


def orders(steps: Sequence[Step[int]], orders_max: int = ORDERS_MAX) -> set[tuple[int, ...]]:
    """All orders that the steps allow; of more than `orders_max` some."""
    found = set(islice(every_order(comes_after(steps)), orders_max + 1))
    return found if len(found) <= orders_max else set(some_orders(steps))


def comes_after(steps: Sequence[Step[int]]) -> dict[int, set[int]]:
    """For each task those it waits for, also where a step without a task stands between them."""
    waits: list[set[int]] = []
    for step in steps:
        after = [steps[one].task for one in step.after]
        waits.append({task for task in after if task is not None})
        waits[-1].update(*(waits[one] for one in step.after if steps[one].task is None))
    return {step.task: waits[step.number] for step in steps if step.task is not None}


def every_order(
    after: dict[int, set[int]], done: tuple[int, ...] = ()
) -> Iterator[tuple[int, ...]]:
    """Each order of the tasks in which all that one waits for is before it."""
    ready = [task for task, before in after.items() if task not in done and before <= {*done}]
    for task in ready:
        yield from every_order(after, (*done, task))
    if not ready:
        yield done


def some_orders(steps: Sequence[Step[int]]) -> Iterator[tuple[int, ...]]:
    """Orders that the steps allow: the last first wherever that may be, then some at random."""
    choose = random.Random(5)  # noqa: S311  # reproducible
    after = comes_after(steps)
    for number in range(ORDERS_SAMPLED):
        order: list[int] = []
        while len(order) < len(after):
            ready = [task for task in after if task not in order and after[task] <= {*order}]
            order.append(max(ready) if number == 0 else choose.choice(ready))
        yield tuple(order)


@contextmanager
def sessions(dsn: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Two connections: that of most tasks, and that of the pinned ones."""
    with (
        psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection,
        psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as own,
    ):
        yield connection, own


def result(
    pair: tuple[psycopg.Connection, psycopg.Connection],
    items: Sequence[ScriptItem],
    order: Sequence[int],
    pinned: set[int],
) -> list[tuple[object, ...]]:
    """What the database holds after the items in an order, the pinned ones on their connection."""
    connection, own = pair
    for one in pair:
        one.execute("ROLLBACK")
        one.execute("DISCARD ALL")
        one.execute("SET client_min_messages = error")
    connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for number in order:
        for statement in items[number].statements:
            (own if number in pinned else connection).execute(statement.text)
    for one in pair:
        one.execute("DISCARD TEMP")
    found = connection.execute(CONTENT).fetchall()
    for (query,) in connection.execute(ROWS).fetchall():
        found += connection.execute(query).fetchall()
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_allowed_order_leaves_the_same_database(dsn18: str, name: str) -> None:
    items, steps = steps_of(SCRIPTS[name])
    program = tuple(range(len(items)))
    pinned = {step.task for step in steps if step.task is not None and step.pinned_to is not None}
    tried = orders(steps) - {program}
    assert tried
    with sessions(dsn18) as pair:
        expected = result(pair, items, program, set())
        for order in tried:
            shown = [items[number].first.text for number in order]
            assert result(pair, items, order, pinned) == expected, shown
