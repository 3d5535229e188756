"""What is read of a database that has one of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.postgres.known import read_known
from pgfan.postgres.session import PostgresSession
from pgfan.sql.known import (
    KnownColumn,
    KnownForeignKey,
    KnownObjects,
    KnownTrigger,
    KnownType,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.known import KnownRelation

SCHEMA = """
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('good', 'bad');
CREATE DOMAIN positive AS int DEFAULT 1 CHECK (VALUE > 0);
CREATE DOMAIN more AS positive;
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i';
CREATE FUNCTION s.note() RETURNS trigger LANGUAGE plpgsql SET search_path = s
    AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION body() RETURNS int BEGIN ATOMIC SELECT 7; END;
CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE AGGREGATE total (int) (SFUNC = add, STYPE = int, INITCOND = 0);
CREATE OPERATOR ### (RIGHTARG = int, FUNCTION = twice);
CREATE TABLE t (
    id serial PRIMARY KEY, own int GENERATED ALWAYS AS IDENTITY, n int DEFAULT twice(3),
    d int GENERATED ALWAYS AS (twice(n)) STORED, m s.mood[], p more, CHECK (twice(n) > 0)
);
CREATE INDEX late ON t (twice(n)) WHERE n > twice(1);
CREATE TABLE s.child (t int CONSTRAINT up REFERENCES t ON DELETE CASCADE, same int REFERENCES t);
CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON t FOR EACH ROW
    WHEN (NEW.n > twice(2)) EXECUTE FUNCTION s.note();
CREATE RULE quiet AS ON DELETE TO s.child DO INSTEAD NOTHING;
CREATE VIEW v AS SELECT id FROM t;
CREATE MATERIALIZED VIEW w AS SELECT * FROM v;
CREATE TABLE parts (i int) PARTITION BY RANGE (twice(i));
CREATE TABLE s.low PARTITION OF parts FOR VALUES FROM (0) TO (9);
CREATE TABLE rest PARTITION OF parts DEFAULT;
CREATE POLICY few ON s.child USING (t > twice(0))"""


@pytest.fixture
def known(dsn: str) -> Iterator[KnownObjects]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCHEMA)
    session = PostgresSession(dsn)
    yield read_known(session)
    session.close()


def relation(known: KnownObjects, schema: str, name: str) -> KnownRelation:
    (found,) = (one for one in known.relations if one.name == (schema, name))
    return found


def test_a_table(known: KnownObjects) -> None:
    found = relation(known, "public", "t")
    assert found.kind == "table"
    assert found.columns == (
        KnownColumn("id", "nextval('public.t_id_seq'::regclass)"),
        KnownColumn("own", sequence=("public", "t_own_seq")),
        KnownColumn("n", "public.twice(3)"),
        KnownColumn("d", "public.twice(n)", generated=True),
        KnownColumn("m", type=("s", "mood")),
        KnownColumn("p", type=("public", "more")),
    )
    assert set(found.expressions) == {
        "(public.twice(n) > 0)",
        "public.twice(n)",
        "(n > public.twice(1))",
    }
    assert found.triggers == (
        KnownTrigger(
            "noted", ("s", "note"), frozenset({"insert", "update"}), "(new.n > public.twice(2))"
        ),
    )


def test_what_belongs_to_a_table(known: KnownObjects) -> None:
    assert relation(known, "public", "late").table == ("public", "t")
    serial, identity = (relation(known, "public", f"t_{name}_seq") for name in ("id", "own"))
    assert (serial.table, serial.column) == (("public", "t"), "id")
    assert (identity.table, identity.column) == (("public", "t"), "own")


def test_keys_rules_and_policies(known: KnownObjects) -> None:
    found = relation(known, "s", "child")
    assert set(found.foreign_keys) == {
        KnownForeignKey(("public", "t"), changes_rows=True, name="up"),
        KnownForeignKey(("public", "t"), name="child_same_fkey"),
    }
    assert "DO INSTEAD NOTHING" in found.rules[0].definition
    assert found.expressions == ("(t > public.twice(0))",)


def test_views(known: KnownObjects) -> None:
    plain, stored = relation(known, "public", "v"), relation(known, "public", "w")
    assert (plain.kind, stored.kind) == ("view", "materialized view")
    assert "FROM public.t" in plain.definition
    assert "FROM public.v" in stored.definition


def test_partitions(known: KnownObjects) -> None:
    assert relation(known, "public", "parts").expressions == ("public.twice(i)",)
    low, rest = relation(known, "s", "low"), relation(known, "public", "rest")
    assert (low.parents, low.is_default_partition) == ((("public", "parts"),), False)
    assert (rest.parents, rest.is_default_partition) == ((("public", "parts"),), True)


def test_functions(known: KnownObjects) -> None:
    found = {one.name: one for one in known.functions}
    twice = found["public", "twice"]
    assert (twice.arguments, twice.language, twice.volatility) == ("integer", "sql", "i")
    assert "SELECT 2 * i" in twice.definition
    assert "SET search_path TO 's'" in found["s", "note"].definition
    assert "SELECT 7" in found["public", "body"].definition
    assert found["public", "total"].language == "aggregate"
    assert found["public", "total"].calls == (("public", "add"),)


def test_types_and_the_rest(known: KnownObjects) -> None:
    types = {one.name: one for one in known.types}
    assert types["public", "more"] == KnownType(
        ("public", "more"), ("1",), (("public", "positive"),)
    )
    assert set(types["public", "positive"].expressions) == {"(VALUE > 0)", "1"}
    assert known.operators == (("###", ("public", "twice")),)
    assert known.search_path == ("$user", "public")
    assert {"public", "s", "pg_catalog"} <= known.schemas
    assert known.user


def test_an_empty_database(dsn: str) -> None:
    session = PostgresSession(dsn)
    found = read_known(session)
    session.close()
    assert (found.relations, found.functions, found.types) == ((), (), ())
