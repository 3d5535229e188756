"""Random scripts in random orders that the DAG allows: the same database as in program order.

PGFAN_ORDER_SCRIPTS=1000 PGFAN_ORDER_SEED=7 looks for more; without them it is a few seconds.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import psycopg
from test_orders import result, sessions, some_orders, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPTS = int(os.environ.get("PGFAN_ORDER_SCRIPTS", "12"))
SEED = int(os.environ.get("PGFAN_ORDER_SEED", "1"))
STATEMENTS_MAX = 18
TRIED_MAX = 120

NAMES = {
    "t": ["a", "b", "r", "p", "p1", "p2"],
    "v": ["v", "w"],
    "rel": ["a", "b", "r", "p", "p1", "v", "w"],
    "f": ["f", "g"],
    "x": list("123456789"),
    "event": ["INSERT", "UPDATE", "INSERT OR UPDATE"],
}
TEMPLATES = """
CREATE TABLE {t} (id int, n int DEFAULT {x})
CREATE TABLE {t} (id serial, n int)
CREATE TABLE {t} (id int PRIMARY KEY, n int)
CREATE TABLE IF NOT EXISTS {t} (id int, n int)
CREATE TABLE {t} AS SELECT id, n FROM {rel}
CREATE TABLE {t} (LIKE {rel} INCLUDING ALL)
CREATE TABLE p (id int, n int) PARTITION BY LIST (id)
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 2, 3, 4)
CREATE TABLE p2 PARTITION OF p DEFAULT
ALTER TABLE p DETACH PARTITION p1
DROP TABLE {t}
DROP TABLE IF EXISTS {t} CASCADE
INSERT INTO {rel} (id, n) VALUES ({x}, {x})
INSERT INTO {rel} (n) VALUES ({x})
INSERT INTO {rel} VALUES ({x}, {x}) ON CONFLICT DO NOTHING
INSERT INTO {t} (id, n) SELECT count(*), sum(n) FROM {rel}
INSERT INTO {t} (id, n) SELECT max(id) + 1, {f}({x}) FROM {rel}
UPDATE {rel} SET n = n + {x}
DELETE FROM {rel} WHERE id = {x}
TRUNCATE {t} RESTART IDENTITY CASCADE
MERGE INTO {t} m USING {rel} q ON m.id = q.id WHEN MATCHED THEN UPDATE SET n = m.n + 1
CREATE VIEW {v} AS SELECT id, n FROM {rel}
CREATE OR REPLACE VIEW {v} AS SELECT id, n FROM {rel} WHERE n < 1000
CREATE VIEW {v} AS SELECT id, {f}(n) AS n FROM {rel}
DROP VIEW IF EXISTS {v} CASCADE
CREATE OR REPLACE FUNCTION {f}(int) RETURNS int LANGUAGE sql AS \
'SELECT $1 + count(*)::int FROM {rel}'
CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT g($1)'
DROP FUNCTION IF EXISTS {f}(int) CASCADE
SELECT {f}({x})
CREATE OR REPLACE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS \
$$ BEGIN INSERT INTO {t} (id, n) SELECT {x}, count(*) FROM {rel}; RETURN NEW; END $$
CREATE TRIGGER tr AFTER {event} ON {t} FOR EACH ROW EXECUTE FUNCTION tf()
DROP TRIGGER tr ON {t}
CREATE RULE ru AS ON UPDATE TO {t} DO ALSO INSERT INTO {t} (id, n) VALUES ({x}, 77)
CREATE INDEX ON {t} (n)
CREATE UNIQUE INDEX ix{x} ON {t} (id)
DROP INDEX IF EXISTS ix{x}
ALTER TABLE {t} RENAME TO {t}
ALTER TABLE {t} ADD FOREIGN KEY (n) REFERENCES r ON DELETE CASCADE
ALTER TABLE {t} ALTER n SET DEFAULT {x}
COMMENT ON TABLE {t} IS '{x}'
CREATE MATERIALIZED VIEW mv AS SELECT id, n FROM {rel}
REFRESH MATERIALIZED VIEW mv
CREATE TEMP TABLE {t} AS SELECT id, n FROM {rel}
DROP TABLE pg_temp.{t}
DO $$ BEGIN INSERT INTO {t} (id, n) SELECT count(*), {x} FROM {rel}; END $$
""".strip().splitlines()  # fmt: skip


def statement(choose: random.Random, templates: Sequence[str] = TEMPLATES) -> str:
    """A template with each of its gaps filled on its own."""
    text = choose.choice(templates)
    for gap, names in NAMES.items():
        while "{" + gap + "}" in text:
            text = text.replace("{" + gap + "}", choose.choice(names), 1)
    return text


def script_that_runs(dsn: str, choose: random.Random) -> str:
    """Random statements; those that fail are left out, and what they did with them."""
    kept: list[str] = []
    with psycopg.connect(dsn) as connection:
        connection.execute("SET max_stack_depth = '500kB'; SET client_min_messages = error")
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for _ in range(TRIED_MAX):
            text = statement(choose)
            try:
                with connection.transaction():
                    connection.execute(text)
            except psycopg.Error:
                continue
            kept.append(text)
            if len(kept) == STATEMENTS_MAX:
                break
        connection.rollback()
    return ";\n".join(kept)


def test_random_scripts_leave_the_same_database_in_every_allowed_order(dsn18: str) -> None:
    for seed in range(SEED, SEED + SCRIPTS):
        script = script_that_runs(dsn18, random.Random(seed))  # noqa: S311  # reproducible
        items, steps = steps_of(script)
        program = tuple(range(len(items)))
        pinned = {s.task for s in steps if s.task is not None and s.pinned_to is not None}
        with sessions(dsn18) as pair:
            try:
                expected = result(pair, items, program, set())
            except psycopg.Error:  # sequences keep what failed statements drew
                continue
            for order in sorted(set(some_orders(steps)) - {program})[:3]:
                found = result(pair, items, order, pinned)
                assert found == expected, (seed, script, order)
