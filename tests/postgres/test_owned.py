"""What a project has made is found and dropped by its oid, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.errors import DatabaseError
from pgfan.postgres.owned import Existing, drops, existing
from pgfan.postgres.session import PostgresSession
from pgfan.sql.effects import ObjectName

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE = """
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('a', 'b');
CREATE FUNCTION s.one(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION s.one(text) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE TABLE s.child
    (id serial PRIMARY KEY, parent int, m s.mood DEFAULT 'a', o int DEFAULT s.one(1));
CREATE TABLE s.parent (id int PRIMARY KEY, child int REFERENCES s.child);
ALTER TABLE s.child ADD FOREIGN KEY (parent) REFERENCES s.parent;
CREATE INDEX named ON s.child (parent);
CREATE TABLE s.parts (i int) PARTITION BY LIST (i);
CREATE TABLE s.part PARTITION OF s.parts DEFAULT;
CREATE VIEW s."V w" AS SELECT * FROM s.child;
CREATE MATERIALIZED VIEW s.m AS SELECT * FROM s."V w";
"""
NAMES = [
    ("relation", "s", "m"),
    ("relation", "s", "V w"),
    ("relation", "s", "part"),
    ("relation", "s", "parts"),
    ("relation", "s", "named"),
    ("relation", "s", "parent"),
    ("relation", "s", "parent_pkey"),
    ("relation", "s", "child_pkey"),
    ("relation", "s", "child_id_seq"),
    ("relation", None, "child"),
    ("function", "s", "one"),
    ("type", "s", "mood"),
    ("schema", None, "s"),
    ("relation", "s", "never"),
]
"""What was made last comes first, as a rebuild has them."""


def found_in(session: PostgresSession) -> list[Existing]:
    names = [ObjectName(*name) for name in NAMES]  # type: ignore[arg-type]
    return sorted(existing(session, names), key=lambda one: names.index(one.name))


def keys(found: list[Existing]) -> set[tuple[str, int]]:
    return {(one.catalog, one.oid) for one in found}


@pytest.fixture
def session(dsn: str) -> Iterator[PostgresSession]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(MADE.encode())
    opened = PostgresSession(dsn)
    yield opened
    opened.close()


def test_all_that_was_made_is_dropped_without_cascade(session: PostgresSession) -> None:
    found = found_in(session)
    assert len(found) == len(NAMES), "two functions of one name, and one name that nothing has"
    said = drops(session, found, keys(found))
    assert not any("_pkey" in text or "_seq" in text or "CASCADE" in text for text in said)
    assert 'DROP VIEW s."V w"' in said
    session.execute(f"BEGIN; {'; '.join(said)}; COMMIT")
    assert found_in(session) == []


def test_an_index_alone(session: PostgresSession) -> None:
    (index,) = existing(session, [ObjectName("relation", "s", "named")])
    assert drops(session, [index], keys([index])) == ["DROP INDEX s.named"]


def test_another_object_of_the_same_name_is_left_alone(session: PostgresSession) -> None:
    before = found_in(session)
    session.execute("DROP MATERIALIZED VIEW s.m; CREATE TABLE s.m (i int)")
    said = drops(session, found_in(session), keys(before))
    assert not any(text.endswith(" s.m") for text in said)


def test_what_others_have_built_on_it_keeps_it(session: PostgresSession) -> None:
    found = found_in(session)
    session.execute("CREATE VIEW public.others AS SELECT id FROM s.child")
    with pytest.raises(DatabaseError, match="other objects depend on it"):
        session.execute(f"BEGIN; {'; '.join(drops(session, found, keys(found)))}; COMMIT")
    session.rollback()
    assert found_in(session) == found
