"""The table that is written, its defaults, and the relations that are read beside it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, relation, split_of, verdict_of

from pgfan.sql.distribute import Serial
from pgfan.sql.facts import CatalogFacts, ColumnFacts

STATEMENTS = [
    ("INSERT INTO u SELECT * FROM b", "ctid b"),
    ("INSERT INTO part SELECT * FROM b", "ctid b"),
    ("INSERT INTO columnar SELECT * FROM b", "ctid b"),
    ("INSERT INTO t AS k (x, y) SELECT x, y FROM b", "ctid b"),
    ("INSERT INTO t (y, x) OVERRIDING SYSTEM VALUE SELECT y, x FROM b", "ctid b"),
    ("INSERT INTO t (x) OVERRIDING USER VALUE SELECT x FROM b", "ctid b"),
    ("INSERT INTO t (x[1], y.k) SELECT x, y FROM b", "ctid b"),
    ("INSERT INTO t (x[random()::int]) SELECT x FROM b", "! volatile-subquery"),
    ("INSERT INTO v SELECT * FROM b", "! target-kind"),
    ("INSERT INTO mv SELECT * FROM b", "! target-kind"),
    ("INSERT INTO far SELECT * FROM b", "! target-kind"),
    ("INSERT INTO seq SELECT * FROM b", "! target-kind"),
    ("INSERT INTO part_far SELECT * FROM b", "! target-kind"),
    ("INSERT INTO part_mixed SELECT * FROM b", "! unlogged-partitions"),
    ("INSERT INTO temp SELECT * FROM b", "! temporary-table"),
    ("INSERT INTO triggered SELECT * FROM b", "! trigger"),
    ("INSERT INTO ruled SELECT * FROM b", "! rule"),
    ("INSERT INTO secret SELECT * FROM b", "! row-security"),
    ("INSERT INTO tree SELECT * FROM b", "! target-references-itself"),
    ("INSERT INTO checked SELECT * FROM b", "! check-function"),
    ("INSERT INTO nowhere SELECT * FROM b", "! relation-unknown"),
    ("INSERT INTO never_heard_of SELECT * FROM b", "! relation-unknown"),
    ("INSERT INTO other_database.public.t SELECT * FROM b", "! relation-unknown"),
    # What is read.
    ("INSERT INTO t SELECT * FROM mv", "ctid mv"),
    ("INSERT INTO t SELECT * FROM u", "ctid u"),
    ("INSERT INTO t SELECT * FROM triggered", "ctid triggered"),
    ("INSERT INTO t SELECT * FROM columnar", "column x columnar, column y columnar"),
    ("INSERT INTO t SELECT * FROM columnar, b", "column x columnar, column y columnar, ctid b"),
    ("INSERT INTO t SELECT * FROM part", "column x part, column y part"),
    ("INSERT INTO t SELECT * FROM leaf", "ctid leaf"),
    ("INSERT INTO t SELECT * FROM part, b", "column x part, column y part, ctid b"),
    ("INSERT INTO t SELECT b.* FROM b LEFT JOIN part USING (x)", "ctid b"),
    ("INSERT INTO t SELECT * FROM parent", "column x parent, column y parent"),
    ("INSERT INTO t SELECT * FROM ONLY parent", "ctid parent"),
    ("INSERT INTO t SELECT * FROM parent *", "column x parent, column y parent"),
    ("INSERT INTO t SELECT * FROM child", "ctid child"),
    ("INSERT INTO t SELECT * FROM v", "! view"),
    ("INSERT INTO t SELECT x FROM b WHERE x IN (TABLE v)", "! view"),
    ("INSERT INTO t SELECT * FROM ruled", "! rule"),
    ("INSERT INTO t SELECT * FROM temp", "! temporary-table"),
    ("INSERT INTO t SELECT * FROM secret, b", "! row-security"),
    ("INSERT INTO t SELECT last_value FROM seq", "! sequence-relation"),
    ("INSERT INTO t SELECT * FROM far", "! foreign-table"),
    ("INSERT INTO t SELECT * FROM part_far, b", "! foreign-table"),
    ("INSERT INTO t SELECT * FROM never_heard_of", "! relation-unknown"),
    ("INSERT INTO t SELECT * FROM other_database.public.b", "! relation-unknown"),
    # The target itself, by any of its names.
    ("INSERT INTO t SELECT * FROM t", "! reads-target"),
    ("INSERT INTO t SELECT * FROM public.t AS k", "! reads-target"),
    ("INSERT INTO public.t SELECT * FROM b WHERE x NOT IN (SELECT id FROM t)", "! reads-target"),
    ("INSERT INTO t SELECT x, (SELECT max(t.id) FROM t) FROM b", "! reads-target"),
    ("INSERT INTO t SELECT * FROM generate_series(1, 9) g LEFT JOIN t ON g = id", "! reads-target"),
    ("INSERT INTO leaf SELECT * FROM part, b", "! reads-target"),
    ("INSERT INTO part SELECT * FROM leaf", "! reads-target"),
    ("INSERT INTO parent SELECT * FROM child", "! reads-target"),
    ("INSERT INTO child SELECT * FROM ONLY parent", "! reads-target"),
]


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS)
def test_tables_written_and_read(statement: str, expected: str) -> None:
    assert in_words(verdict_of(statement)) == expected


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        ("insert", "INSERT INTO t SELECT x FROM b"),
        ("update", "UPDATE t SET x = 1"),
        ("delete", "DELETE FROM t"),
    ],
)
def test_a_trigger_matters_for_its_own_event(event: str, refused: str) -> None:
    facts = catalogue()
    target = replace(
        facts.relations["t",],
        triggers=("audit",) * (event == "insert"),
        update_triggers=("audit",) * (event == "update"),
        delete_triggers=("audit",) * (event == "delete"),
    )
    facts = replace(facts, relations={**facts.relations, ("t",): target})
    for sql in ("INSERT INTO t SELECT x FROM b", "UPDATE t SET x = 1", "DELETE FROM t"):
        verdict = in_words(verdict_of(sql, facts))
        assert (verdict == "! trigger") is (sql == refused), verdict


ALL_AT_ONCE = (
    "WITH k AS (SELECT 1) INSERT INTO triggered SELECT DISTINCT count(*) FROM v "
    "LIMIT 1 ON CONFLICT (x) DO NOTHING RETURNING x"
)


def test_every_reason_is_given_once() -> None:
    found = verdict_of(ALL_AT_ONCE)
    assert in_words(found) == "! aggregate distinct limit on-conflict returning trigger view"
    assert isinstance(found, Serial)
    assert len({reason.code for reason in found.reasons}) == len(found.reasons)


# The default of z, in t(x, y, z); how it is written into the statement, or the reason.
DEFAULTS = [
    ("0", "plain"),
    ("'k'::text", "plain"),
    ("lower('K'::text)", "plain"),
    ("random()", "plain"),
    ("nextval('t_z_seq'::regclass)", "plain"),
    ("gen_random_uuid()", "plain"),
    ("clock_timestamp()", "plain"),
    ("CURRENT_USER", "plain"),
    ("now()", "frozen"),
    ("CURRENT_TIMESTAMP", "frozen"),
    ("CURRENT_DATE", "frozen"),
    ("(now() + '01:00:00'::interval)", "frozen"),
    ("COALESCE(NULL::timestamp with time zone, statement_timestamp())", "frozen"),
    ("(random() * date_part('epoch'::text, now()))", "frozen"),
    ("'now'::text::timestamp without time zone", "refused"),
    ("('now'::text)::date", "refused"),
    ("('to'::text || 'day'::text)::date", "refused"),
    ("currval('s'::regclass)", "refused"),
    ("app.lookup(1)", "refused"),
    ("log_it()", "refused"),
    ("no_such()", "refused"),
    ("txid_current()", "refused"),
    ("age('2024-01-01 00:00:00'::timestamp without time zone)", "refused"),
    ("current_setting('app.user'::text)", "refused"),
    ("(1 @@@ 2)", "refused"),
    ("('s'::regclass).nextval", "refused"),
    ("this is no expression", "refused"),
]


def facts_with_default(default: str, *, generated: bool = False) -> CatalogFacts:
    facts = catalogue(t={"x": None, "y": None, "z": default})
    target = facts.relations["t",]
    columns = (*target.columns[:2], ColumnFacts("z", default, generated))
    return replace(facts, relations={**facts.relations, ("t",): replace(target, columns=columns)})


@pytest.mark.parametrize("statement", ["t SELECT x, y", "t (y) SELECT y", "t (y, x) SELECT y, x"])
@pytest.mark.parametrize(("default", "expected"), DEFAULTS)
def test_the_default_of_a_column_that_is_left_out(
    statement: str, default: str, expected: str
) -> None:
    facts = facts_with_default(default)
    sql = f"INSERT INTO {statement} FROM b"
    if expected == "refused":
        assert in_words(verdict_of(sql, facts)) == "! default-function"
        return
    frozen = [column.name for column in split_of(sql, facts).frozen_defaults]
    assert frozen == (["z"] if expected == "frozen" else [])


@pytest.mark.parametrize(
    "statement",
    ["t SELECT x, y, x", "t (z) SELECT x", "t (x, z) SELECT x, y", "t (z[1]) SELECT x"],
)
@pytest.mark.parametrize("default", [default for default, _ in DEFAULTS])
def test_a_default_that_is_not_used_does_not_matter(statement: str, default: str) -> None:
    found = split_of(f"INSERT INTO {statement} FROM b", facts_with_default(default))
    assert not found.frozen_defaults


@pytest.mark.parametrize("query", ["SELECT *", "SELECT b.*", "SELECT (b).*", "SELECT 1, b.*"])
@pytest.mark.parametrize(("default", "expected"), DEFAULTS)
def test_a_star_hides_how_many_columns_are_given(query: str, default: str, expected: str) -> None:
    found = verdict_of(f"INSERT INTO t {query} FROM b", facts_with_default(default))
    assert in_words(found) == ("ctid b" if expected == "plain" else "! default-function")


@pytest.mark.parametrize("query", ["SELECT x, (SELECT count(*) FROM c)", "SELECT x, b"])
def test_a_star_below_the_target_list_hides_nothing(query: str) -> None:
    found = split_of(f"INSERT INTO t {query} FROM b", facts_with_default("now()"))
    assert [column.name for column in found.frozen_defaults] == ["z"]


def test_a_generated_column_has_no_default() -> None:
    facts = facts_with_default("app.lookup(1)", generated=True)
    assert in_words(verdict_of("INSERT INTO t SELECT x, y FROM b", facts)) == "ctid b"


HAZARDS = [
    ("INSERT INTO t SELECT x FROM b", "0", ["not-atomic"]),
    ("INSERT INTO t SELECT x FROM b ORDER BY y", "0", ["not-atomic", "physical-order"]),
    ("INSERT INTO t SELECT nextval('s') FROM b", "0", ["not-atomic", "sequence-order"]),
    ("INSERT INTO t (x) SELECT x FROM b", "nextval('s')", ["not-atomic", "sequence-order"]),
    ("INSERT INTO t (z) SELECT x FROM b", "nextval('s')", ["not-atomic"]),
    ("INSERT INTO t SELECT x FROM (SELECT x FROM c ORDER BY x) s, b", "0", ["not-atomic"]),
]


@pytest.mark.parametrize(("statement", "default", "hazards"), HAZARDS)
def test_how_a_split_run_may_differ(statement: str, default: str, hazards: list[str]) -> None:
    assert list(split_of(statement, facts_with_default(default)).hazards) == hazards


READS = [
    ("INSERT INTO t SELECT g FROM generate_series(1, 9) g", set()),
    ("INSERT INTO t SELECT x FROM b", {("b",)}),
    (
        "INSERT INTO t SELECT x FROM b LEFT JOIN public.c USING (x) WHERE x IN (SELECT z FROM d)",
        {("b",), ("public", "c"), ("d",)},
    ),
    ("INSERT INTO t SELECT generate_series(1, 9), (SELECT max(x) FROM c)", {("c",)}),
    # The target of a change is read only where it is named again.
    ("UPDATE t SET x = 1", set()),
    ("UPDATE t SET x = b.x FROM b WHERE b.y = t.y", {("b",)}),
    ("UPDATE t SET x = 1 WHERE y IN (SELECT y FROM t)", {("t",)}),
    ("DELETE FROM t WHERE x = (SELECT max(k.x) FROM t AS k)", {("t",)}),
]


@pytest.mark.parametrize(("statement", "reads"), READS)
def test_the_relations_that_need_one_snapshot(statement: str, reads: set[tuple[str, ...]]) -> None:
    assert set(split_of(statement).reads) == reads


def test_a_delete_by_blocks_needs_a_snapshot_though_it_reads_nothing() -> None:
    assert split_of("DELETE FROM t").shared_snapshot
    assert not split_of("UPDATE t SET x = 1").shared_snapshot
    assert not split_of("INSERT INTO t SELECT x FROM b").shared_snapshot


@pytest.mark.parametrize(("target", "unlogged"), [("t", False), ("u", True), ("part", False)])
def test_whether_the_target_survives_a_crash(target: str, *, unlogged: bool) -> None:
    assert split_of(f"INSERT INTO {target} SELECT * FROM b").unlogged is unlogged


def test_candidates_say_where_they_stand() -> None:
    sql = "INSERT INTO t SELECT 1 FROM d LEFT JOIN c ON true, generate_series(1, 2) g, public.b k"
    found = [(c.key, c.ordinal, c.alias, c.relation) for c in split_of(sql).candidates]
    assert found == [
        ("ctid", 0, ("d",), ("d",)),
        ("series", 2, ("g",), None),
        ("ctid", 3, ("k",), ("public", "b")),
    ]
    assert relation("b").heap
