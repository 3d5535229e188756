from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from pgfan.postgres.catalog import read_facts
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.session import PostgresSession
from pgfan.sql.access import references
from pgfan.sql.script import read_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.ports import Result
    from pgfan.sql.facts import CatalogFacts, RelationFacts, ViewFacts

TABLES = """
CREATE SCHEMA "We""ird";
CREATE TABLE plain (id integer PRIMARY KEY, at timestamptz DEFAULT now(), twice integer
    GENERATED ALWAYS AS (id * 2) STORED);
CREATE UNLOGGED TABLE fast (id integer);
CREATE TABLE "We""ird"."Ta ble" (id integer);
CREATE TABLE parent (id integer); CREATE TABLE child () INHERITS (parent);
CREATE TABLE parts (id integer) PARTITION BY RANGE (id);
CREATE UNLOGGED TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE part2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE TABLE mixed (id integer) PARTITION BY RANGE (id);
CREATE TABLE mixed1 PARTITION OF mixed FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE mixed2 PARTITION OF mixed FOR VALUES FROM (10) TO (20);
CREATE VIEW seen AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree);
CREATE TABLE guarded (id integer); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE TABLE ruled (id integer); CREATE RULE twice AS ON INSERT TO ruled DO ALSO SELECT 1;
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE watched (id integer) PARTITION BY RANGE (id);
CREATE TABLE watched1 PARTITION OF watched FOR VALUES FROM (0) TO (10);
CREATE TRIGGER on_leaf BEFORE INSERT ON watched1 FOR EACH ROW EXECUTE FUNCTION fired();
CREATE TABLE deleted_from (id integer);
CREATE TRIGGER on_delete BEFORE DELETE ON deleted_from FOR EACH ROW EXECUTE FUNCTION fired();
CREATE FUNCTION looks(integer) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
CREATE TABLE checked (id integer CONSTRAINT seen_by CHECK (looks(id)));
CREATE DOMAIN dom AS integer CONSTRAINT dom_check CHECK (looks(VALUE));
CREATE TABLE in_domain (id dom);
CREATE DOMAIN moment AS timestamptz DEFAULT now();
CREATE TABLE with_moment (id integer, at moment);
CREATE TABLE keyed (a integer CONSTRAINT keyed_a PRIMARY KEY, b text, c numeric(10, 2) NOT NULL,
    d integer UNIQUE, e integer NOT NULL, CONSTRAINT keyed_e UNIQUE (e) DEFERRABLE,
    CONSTRAINT keyed_bc UNIQUE (b, c) INCLUDE (d), EXCLUDE USING btree (c WITH =));
CREATE UNIQUE INDEX keyed_lower ON keyed (lower(b), a);
CREATE UNIQUE INDEX keyed_partial ON keyed (d) WHERE d > 3;
CREATE UNIQUE INDEX keyed_pattern ON keyed (b text_pattern_ops, a);
CREATE UNIQUE INDEX keyed_collated ON keyed (b COLLATE "C");
CREATE TABLE keyed_parts (a integer PRIMARY KEY, b integer) PARTITION BY RANGE (a);
CREATE TABLE keyed_part PARTITION OF keyed_parts (b UNIQUE) DEFAULT;
"""


@pytest.fixture
def session(dsn: str) -> Iterator[PostgresSession]:
    opened = PostgresSession(complete_dsn(dsn))
    opened.execute(TABLES)
    yield opened
    opened.close()


def facts_of(session: PostgresSession, sql: str) -> CatalogFacts:
    return read_facts(session, references(read_script(sql, "-c")[0].first.tree), None)


def relation(session: PostgresSession, name: str) -> RelationFacts:
    return next(iter(facts_of(session, f"SELECT FROM {name}").relations.values()))


def test_what_a_relation_is(session: PostgresSession) -> None:
    cases = {
        "plain": ("r", "p"),
        "fast": ("r", "u"),
        '"We""ird"."Ta ble"': ("r", "p"),
        "parts": ("p", "u"),
        "mixed": ("p", "x"),
        "seen": ("v", "p"),
        "kept": ("m", "p"),
        "missing": ("?", "p"),
        "nowhere.plain": ("?", "p"),
    }
    found = {name: relation(session, name) for name in cases}
    assert {name: (one.kind, one.persistence) for name, one in found.items()} == cases
    session.execute("CREATE TEMPORARY TABLE plain (id integer)")
    assert relation(session, "plain").persistence == "t"


def test_families(session: PostgresSession) -> None:
    parent, child, plain = (relation(session, name) for name in ("parent", "child", "plain"))
    assert parent.has_children
    assert not child.has_children
    assert parent.family == child.family == {parent.oid, child.oid}
    assert not plain.family & parent.family


def test_what_makes_a_target_unfit(session: PostgresSession) -> None:
    assert relation(session, "tree").references_itself
    assert relation(session, "ruled").has_rules
    assert relation(session, "watched").triggers == ("on_leaf",)
    assert relation(session, "deleted_from").triggers == ()
    assert relation(session, "checked").unsafe_checks == ("seen_by",)
    assert relation(session, "in_domain").unsafe_checks == ("dom_check",)
    plain = relation(session, "plain")
    unfit = [plain.references_itself, plain.has_rules, plain.triggers, plain.unsafe_checks]
    assert not any([*unfit, plain.row_security, plain.foreign_partitions])


def test_row_security_counts_for_the_role_that_asks(session: PostgresSession) -> None:
    assert not relation(session, "guarded").row_security  # a superuser passes
    session.execute("CREATE ROLE reader_of_facts; GRANT ALL ON guarded TO reader_of_facts")
    try:
        session.execute("SET ROLE reader_of_facts")
        assert relation(session, "guarded").row_security
    finally:
        session.execute("RESET ROLE; DROP OWNED BY reader_of_facts; DROP ROLE reader_of_facts")


def test_columns_and_their_defaults(session: PostgresSession) -> None:
    columns = relation(session, "plain").columns
    assert [column.name for column in columns] == ["id", "at", "twice"]
    assert [column.default for column in columns[:2]] == [None, "now()"]
    assert [column.generated for column in columns] == [False, False, True]
    assert relation(session, "with_moment").columns[1].default == "now()"


def test_unique_indexes(session: PostgresSession) -> None:
    keyed = relation(session, "keyed")
    found = [
        (index.columns, set(index.plain), index.whole, index.constraint)
        for index in keyed.unique_indexes
    ]
    assert found == [
        (("a",), {"a"}, True, "keyed_a"),
        (("d",), {"d"}, True, "keyed_d_key"),
        (("e",), {"e"}, False, "keyed_e"),
        (("b", "c"), {"b", "c"}, True, "keyed_bc"),
        (("c",), set(), False, "keyed_c_excl"),
        (("", "a"), {"a"}, False, ""),
        (("d",), {"d"}, False, ""),
        (("b", "a"), {"a"}, True, ""),
        (("b",), set(), True, ""),
    ]
    assert all(index.own for index in keyed.unique_indexes)
    assert [column.name for column in keyed.columns if column.unique] == ["a"]
    assert [column.typmod for column in keyed.columns] == [-1, -1, 655366, -1, -1]


def test_a_column_that_may_hold_nulls_still_is_not_unique(session: PostgresSession) -> None:
    session.execute("CREATE TABLE held (a integer UNIQUE)")
    assert [column.unique for column in relation(session, "held").columns] == [False]
    if session.connection.info.server_version >= 180000:
        session.execute("ALTER TABLE held ADD CONSTRAINT later NOT NULL a NOT VALID")
        assert [column.unique for column in relation(session, "held").columns] == [False]
    session.execute("ALTER TABLE held ALTER a SET NOT NULL")
    assert [column.unique for column in relation(session, "held").columns] == [True]


def test_unique_indexes_of_partitions(session: PostgresSession) -> None:
    parts = relation(session, "keyed_parts").unique_indexes
    assert sorted((index.columns, index.own) for index in parts) == [
        (("a",), False),
        (("a",), True),
        (("b",), False),
    ]


def test_functions_of_every_schema_in_the_path(session: PostgresSession) -> None:
    session.execute(
        "CREATE FUNCTION random(integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT 1'"
    )
    facts = facts_of(session, "SELECT random(), lower('A'), nowhere.lower('A'), nothing(1)")
    found = {(f.schema, f.volatility) for f in facts.functions[("random",)]}
    assert found >= {("pg_catalog", "v"), ("public", "s")}
    assert {f.schema for f in facts.functions[("lower",)]} == {"pg_catalog"}
    assert facts.functions[("nowhere", "lower")] == ()
    assert facts.functions[("nothing",)] == ()
    hidden = facts_of(session, "SELECT pg_catalog.random()")
    assert {f.schema for f in hidden.functions[("pg_catalog", "random")]} == {"pg_catalog"}


def test_operators_and_casts_of_users(session: PostgresSession) -> None:
    assert facts_of(session, "SELECT 1 + 1").operators == {("+",): ()}
    session.execute(
        "CREATE FUNCTION joined(text, integer) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT $1';"
        "CREATE OPERATOR <=> (FUNCTION = joined, LEFTARG = text, RIGHTARG = integer)"
    )
    (operator,) = facts_of(session, "SELECT 'a' <=> 1").operators[("<=>",)]
    assert (operator.schema, operator.volatility) == ("public", "v")
    assert facts_of(session, "SELECT 1").unsafe_casts == ()
    session.execute(
        "CREATE TYPE pair AS (a integer);"
        "CREATE FUNCTION to_pair(integer) RETURNS pair LANGUAGE sql STABLE "
        "AS 'SELECT ROW($1)::pair';"
        "CREATE CAST (integer AS pair) WITH FUNCTION to_pair(integer)"
    )
    assert facts_of(session, "SELECT 1").unsafe_casts == ("integer as pair",)


VIEWS = """
CREATE SCHEMA inside; CREATE TABLE inside.heap (id integer, name text);
CREATE FUNCTION inside.f(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE VIEW inside.below AS SELECT inside.f(id) AS f, name FROM inside.heap;
CREATE VIEW above AS SELECT f, plain.at FROM inside.below JOIN plain ON id = f;
CREATE VIEW barred WITH (security_barrier) AS SELECT * FROM plain;
CREATE VIEW not_barred WITH (security_barrier = off) AS SELECT * FROM plain;
CREATE VIEW behind AS SELECT * FROM guarded;
"""


def test_views_bring_what_they_name_at_any_depth(session: PostgresSession) -> None:
    session.execute(VIEWS)
    found = facts_of(session, "SELECT FROM above")
    assert set(found.relations) == {("above",), ("inside", "below"), ("inside", "heap"), ("plain",)}
    assert ("inside", "f") in found.functions
    assert found.relations["inside", "heap"].kind == "r"
    view = found.relations["inside", "below"].view
    assert view is not None
    assert "inside.f(" in view.definition
    assert "FROM inside.heap" in view.definition
    session.execute("SET search_path = inside, public")
    view = facts_of(session, "SELECT FROM public.above").relations["public", "above"].view
    assert view is not None
    assert "FROM (below" in view.definition


def test_what_speaks_against_a_view(session: PostgresSession) -> None:
    session.execute(VIEWS)

    def view(name: str) -> ViewFacts:
        found = relation(session, name).view
        assert found is not None
        return found

    assert view("barred").security_barrier
    assert not view("not_barred").security_barrier
    assert view("behind").row_security
    assert not view("above").row_security
    assert view("pg_catalog.pg_tables").definition == ""
    assert view("above").forbidden == ()
    session.execute("CREATE ROLE reader_of_views; GRANT SELECT ON above, plain TO reader_of_views")
    try:
        session.execute("SET ROLE reader_of_views")
        assert view("above").forbidden == ("inside.below",)
        assert view("not_barred").forbidden == ()
        session.execute("RESET ROLE; GRANT USAGE ON SCHEMA inside TO reader_of_views")
        session.execute("GRANT SELECT ON inside.below TO reader_of_views; SET ROLE reader_of_views")
        below = facts_of(session, "SELECT FROM above").relations["inside", "below"].view
        assert below is not None
        assert below.forbidden == ("inside.heap",)
    finally:
        session.execute("RESET ROLE; DROP OWNED BY reader_of_views; DROP ROLE reader_of_views")
    assert view("above").hidden_operators == ()
    session.execute("SET search_path = public, pg_catalog")
    assert view("above").hidden_operators == ("=",)


def test_definitions_are_read_without_a_trace_in_the_session(session: PostgresSession) -> None:
    session.execute("SET datestyle = 'German'; CREATE VIEW dated AS SELECT '2024-02-03'::date AS d")
    view = relation(session, "dated").view
    assert view is not None
    assert "'2024-02-03'::date" in view.definition
    assert session.execute("SHOW datestyle")[0].rows[0][0] == "German, DMY"


def test_a_statement_without_views_costs_no_more_queries(session: PostgresSession) -> None:
    session.execute(VIEWS)
    asked: list[str] = []
    original = session.execute

    def counted(sql: str) -> list[Result]:
        asked.append(sql)
        return original(sql)

    with mock.patch.object(session, "execute", counted):
        facts_of(session, "SELECT FROM plain, inside.heap WHERE lower('x') = 'x'")
        assert len(asked) == 4
        asked.clear()
        facts_of(session, "SELECT FROM above, barred, not_barred WHERE lower('x') = 'x'")
        assert len(asked) == 6
