"""ON CONFLICT and MERGE: which keys keep rows of several chunks from meeting on one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, split_of, verdict_of

from pgfan.sql.facts import CatalogFacts, ColumnFacts, FunctionFacts, UniqueIndex
from pgfan.sql.rewrite import restrict_column

if TYPE_CHECKING:
    from pgfan.sql.facts import Name, RelationFacts

BY_ID = UniqueIndex(("id",), frozenset({"id"}), constraint="t_pkey")
BY_XY = UniqueIndex(("x", "y"), frozenset({"x", "y"}), constraint="t_x_y_key")
LOWER = UniqueIndex(("",), whole=False)
PARTIAL = UniqueIndex(("x",), frozenset({"x"}), whole=False)
NO_OVERLAP = UniqueIndex(("x",), whole=False, constraint="no_overlap")
OF_LEAF = UniqueIndex(("y",), frozenset({"y"}), own=False, constraint="leaf_y_key")
FROZEN_AT = "2024-02-29 12:00:00+00"


def facts_of(
    *indexes: UniqueIndex, columns: tuple[ColumnFacts, ...] = (), **target: object
) -> CatalogFacts:
    """t has `indexes`; b.n is unique there. `columns` take the place of t's, by name."""
    facts = catalogue()
    own = facts.relations["t",]
    assigned = frozenset(name or "*" for index in indexes for name in index.columns)
    named = {column.name: column for column in columns}
    t = replace(
        own,
        unique_indexes=indexes,
        unique_columns=assigned,
        columns=tuple(named.get(column.name, column) for column in own.columns),
        **target,
    )
    b = facts.relations["b",]
    b = replace(b, columns=tuple(replace(c, unique=c.name == "n") for c in b.columns))
    relations: dict[Name, RelationFacts] = {**facts.relations}
    relations["t",] = relations["public", "t"] = t
    relations["b",] = relations["public", "b"] = b
    return replace(facts, relations=relations)


UPDATE = "ON CONFLICT (id) DO UPDATE SET x = 1"
NOTHING = "ON CONFLICT DO NOTHING"
# What follows "INSERT INTO t "; t is unique by id.
CONFLICTS = [
    # The key is given to a column that has to be unique.
    (f"SELECT x FROM b {UPDATE}", "column x b"),
    (f"SELECT b.x, y FROM b {UPDATE}", "column x b"),
    (f"(y, id) SELECT x, y FROM b {UPDATE}", "column y b"),
    (f"SELECT * FROM c {UPDATE}", "column x c"),
    (f"SELECT s.k FROM (SELECT x AS k FROM b) s {UPDATE}", "column x b"),
    (f"SELECT x, count(*) FROM b GROUP BY x {UPDATE}", "column x b"),
    (f"SELECT c.x FROM b JOIN c ON b.x = c.x {UPDATE}", "column x b, column x c"),
    (f"SELECT b.x FROM b LEFT JOIN c ON b.x = c.x {UPDATE}", "column x b"),
    (f"WITH s AS (SELECT x FROM b) SELECT x FROM s {UPDATE}", "column x b"),
    ("SELECT x FROM b ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET x = 1", "column x b"),
    # Each row of b has an n of its own, so that blocks keep them apart as well.
    (f"SELECT n, y FROM b {UPDATE}", "ctid b, column n b"),
    (f"SELECT s.n FROM (SELECT n FROM b) s JOIN c ON true {UPDATE}", "ctid b, column n b"),
    # It is not, or not as it is.
    (f"SELECT x + 1, n FROM b {UPDATE}", "! on-conflict"),
    (f"(x) SELECT x FROM b {UPDATE}", "! on-conflict"),
    (f"(id[1]) SELECT x FROM b {UPDATE}", "! on-conflict"),
    (f"(id) OVERRIDING USER VALUE SELECT x FROM b {UPDATE}", "! on-conflict"),
    (f"SELECT c.x FROM b LEFT JOIN c ON b.x = c.x {UPDATE}", "! on-conflict"),
    (f"SELECT max(x) FROM b GROUP BY y {UPDATE}", "! on-conflict"),
    (
        (f"SELECT b.x FROM b JOIN c ON b.x = c.x GROUP BY GROUPING SETS ((b.x), (c.x)) {UPDATE}"),
        "! on-conflict",
    ),
    # Conflict targets that are not an index of plain columns.
    ("SELECT x FROM b ON CONFLICT (x) DO UPDATE SET x = 1", "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id, x) DO NOTHING", "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id) WHERE id > 3 DO NOTHING", "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (abs(id)) DO NOTHING", "! on-conflict"),
    ('SELECT y FROM b ON CONFLICT (id COLLATE "C") DO NOTHING', "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id int4_ops) DO NOTHING", "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT ON CONSTRAINT other DO NOTHING", "! on-conflict"),
    # DO NOTHING.
    (f"SELECT x FROM b {NOTHING}", "column x b"),
    (f"SELECT n FROM b {NOTHING}", "ctid b, column n b"),
    ("SELECT n FROM b ON CONFLICT (id) DO NOTHING", "ctid b, column n b"),
    (f"SELECT x + 1 FROM b {NOTHING}", "! on-conflict"),
    # A series gives whole numbers, or no key.
    (f"SELECT g FROM generate_series(1, 9) g {UPDATE}", "series g"),
    (f"SELECT g FROM generate_series(1, 90000000000) g {UPDATE}", "series g"),
    (f"SELECT g.x FROM generate_series(1::bigint, 9) g(x) {UPDATE}", "series g"),
    (f"SELECT generate_series(1, 9), 2 {UPDATE}", "series"),
    (f"SELECT 2, generate_series(1, 9) {UPDATE}", "! on-conflict"),
    (f"SELECT g FROM generate_series(0.5, 9, 0.1) g {UPDATE}", "! on-conflict"),
    (f"SELECT g FROM generate_series(1, 3 * 3) g {UPDATE}", "! on-conflict"),
    (f"SELECT g % 3 FROM generate_series(1, 9) g {UPDATE}", "! on-conflict"),
    # Without relations there is no snapshot: rows are passed over, by whatever key.
    (f"SELECT g % 3 FROM generate_series(1, 9) g {NOTHING}", "series g"),
    (f"SELECT generate_series(1, 9) % 3 {NOTHING}", "series"),
    (f"SELECT g % 3 FROM generate_series(1, 9) g ORDER BY g {NOTHING}", "! on-conflict"),
    (f"SELECT g % 3 FROM generate_series(1, 9) g, c {NOTHING}", "! on-conflict"),
    # What DO UPDATE may look at.
    (f"SELECT x FROM b {UPDATE}, y = EXCLUDED.y || t.y WHERE t.x < EXCLUDED.x", "column x b"),
    (f"SELECT x FROM b {UPDATE}, y = random() WHERE now() > '2024-01-01'", "column x b"),
    (f"SELECT x FROM b {UPDATE}, y = app.lookup(t.y)", "! function-volatile"),
    (f"SELECT x FROM b {UPDATE}, y = txid_current()", "! function-volatile"),
    (f"SELECT x FROM b {UPDATE}, y = (SELECT max(y) FROM t)", "! on-conflict reads-target"),
    (f"SELECT x FROM b {UPDATE} WHERE EXISTS (SELECT FROM c)", "! on-conflict"),
    (f"SELECT x FROM b {UPDATE}, y = DEFAULT", "! unknown-construct"),
    (f"SELECT x FROM b {UPDATE}, (y, x) = (1, 2)", "! unknown-construct"),
    (f"SELECT x FROM b {UPDATE}, y = 'now'", "! special-datetime"),
    ("SELECT x FROM b ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.x", "! assigned-unique"),
    (f"SELECT id FROM t {UPDATE}", "! reads-target"),
    (f"SELECT x FROM b {UPDATE} RETURNING x", "! returning"),
]


@pytest.mark.parametrize(("rest", "expected"), CONFLICTS, ids=[case[0] for case in CONFLICTS])
def test_on_conflict(rest: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {rest}", facts_of(BY_ID))) == expected


INDEXES = [
    # No unique index: nothing ever conflicts.
    (f"SELECT z FROM d {NOTHING}", (), "ctid d, column z d, column tags d"),
    # Every index counts, unless one is named.
    ("SELECT x, y FROM b ON CONFLICT DO NOTHING", (BY_ID, BY_XY), "! on-conflict"),
    ("SELECT x, x FROM b ON CONFLICT DO NOTHING", (BY_ID, BY_XY), "column x b"),
    ("SELECT x, y FROM b ON CONFLICT (id) DO NOTHING", (BY_ID, BY_XY), "column x b"),
    (
        "SELECT 1, x, y FROM b ON CONFLICT (y, x) DO NOTHING",
        (BY_ID, BY_XY),
        "column x b, column y b",
    ),
    ("SELECT 1, x, x FROM b ON CONFLICT (x) DO NOTHING", (BY_XY,), "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT DO NOTHING", (BY_ID, LOWER), "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id) DO NOTHING", (BY_ID, LOWER), "column x b"),
    ("SELECT 1, x FROM b ON CONFLICT (x) DO NOTHING", (PARTIAL,), "! on-conflict"),
    ("SELECT 1, x FROM b ON CONFLICT DO NOTHING", (PARTIAL,), "column x b"),
    ("SELECT 1, x FROM b ON CONFLICT DO NOTHING", (NO_OVERLAP,), "! on-conflict"),
    (
        "SELECT 1, x FROM b ON CONFLICT ON CONSTRAINT no_overlap DO NOTHING",
        (NO_OVERLAP,),
        "! on-conflict",
    ),
    ("SELECT x FROM b ON CONFLICT DO NOTHING", (BY_ID, OF_LEAF), "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id) DO NOTHING", (BY_ID, OF_LEAF), "column x b"),
    ("SELECT 1, 2, x FROM b ON CONFLICT (y) DO NOTHING", (OF_LEAF,), "! on-conflict"),
    # An index that compares otherwise than the key's type.
    (
        "SELECT x FROM b ON CONFLICT (id) DO NOTHING",
        (replace(BY_ID, plain=frozenset()),),
        "! on-conflict",
    ),
    (
        "SELECT x FROM b ON CONFLICT (id) DO NOTHING",
        (BY_ID, replace(BY_ID, plain=frozenset())),
        "! on-conflict",
    ),
    # Assigned columns of other indexes.
    (f"SELECT x FROM b {UPDATE}", (BY_ID, BY_XY), "! assigned-unique"),
    (f"SELECT x FROM b {UPDATE}", (BY_ID, LOWER), "! assigned-unique"),
]


@pytest.mark.parametrize(("rest", "indexes", "expected"), INDEXES)
def test_which_indexes_count(rest: str, indexes: tuple[UniqueIndex, ...], expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {rest}", facts_of(*indexes))) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (ColumnFacts("id", None, type="bigint"), "column x b"),
        (ColumnFacts("id", None, type="numeric"), "! on-conflict"),
        (ColumnFacts("id", None, type="app.dom"), "! on-conflict"),
        (ColumnFacts("id", None, collation="app.other"), "column x b"),
        (ColumnFacts("id", "1", generated=True), "! on-conflict"),
    ],
)
def test_the_column_must_keep_keys_apart(column: ColumnFacts, expected: str) -> None:
    facts = facts_of(BY_ID, columns=(column,))
    assert in_words(verdict_of(f"INSERT INTO t SELECT x FROM b {UPDATE}", facts)) == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (ColumnFacts("x", None, type="numeric"), (-1, ""), "column x b"),
        (ColumnFacts("x", None, type="numeric", typmod=655366), (655366, ""), "column x b"),
        (ColumnFacts("x", None, type="numeric"), (655366, ""), "! on-conflict"),
        (ColumnFacts("x", None, type="numeric", typmod=9), (655366, ""), "! on-conflict"),
        (ColumnFacts("x", None, type="numeric"), (-1, "11.C"), "! on-conflict"),
    ],
)
def test_lengths_and_collations(
    source: ColumnFacts, target: tuple[int, str], expected: str
) -> None:
    typmod, collation = target
    column = ColumnFacts("id", None, type="numeric", typmod=typmod, collation=collation)
    facts = facts_of(BY_ID, columns=(column,))
    b = facts.relations["b",]
    b = replace(b, columns=(source, *b.columns[1:]))
    facts = replace(facts, relations={**facts.relations, ("b",): b})
    assert in_words(verdict_of(f"INSERT INTO t SELECT x FROM b {UPDATE}", facts)) == expected


@pytest.mark.parametrize(
    ("statement", "target", "expected"),
    [
        (f"INSERT INTO t SELECT x FROM b {UPDATE}", {"update_triggers": ("a",)}, "! trigger"),
        (f"INSERT INTO t SELECT x FROM b {NOTHING}", {"update_triggers": ("a",)}, "column x b"),
        (f"INSERT INTO t SELECT x FROM b {UPDATE}", {"cascades": True}, "! foreign-key-action"),
        (f"INSERT INTO t SELECT x FROM b {NOTHING}", {"cascades": True}, "column x b"),
        ("{merge} WHEN MATCHED THEN DELETE", {"update_triggers": ("a",)}, "column x b"),
        ("{merge} WHEN MATCHED THEN DELETE", {"delete_triggers": ("a",)}, "! trigger"),
        ("{merge} WHEN MATCHED THEN DELETE", {"cascades": True}, "! foreign-key-action"),
        ("{merge} WHEN MATCHED THEN UPDATE SET y = 1", {"update_triggers": ("a",)}, "! trigger"),
        ("{merge} {insert}", {"triggers": ("a",)}, "! trigger"),
        ("{merge} {insert}", {"cascades": True, "update_triggers": ("a",)}, "column x b"),
        ("{merge} {insert}", {"has_rules": True}, "! rule"),
        ("{merge} {insert}", {"row_security": True}, "! row-security"),
        ("{merge} {insert}", {"references_itself": True}, "! target-references-itself"),
        ("{merge} {insert}", {"kind": "v"}, "! target-kind view"),
    ],
)
def test_what_happens_to_rows_of_the_target(
    statement: str, target: dict[str, object], expected: str
) -> None:
    sql = statement.format(
        merge="MERGE INTO t USING b ON t.id = b.x",
        insert="WHEN NOT MATCHED THEN INSERT (id) VALUES (b.x)",
    )
    assert in_words(verdict_of(sql, facts_of(BY_ID, **target))) == expected  # type: ignore[arg-type]


ON = "MERGE INTO t USING b ON t.id = b.x"
NEW = "WHEN NOT MATCHED THEN INSERT (id, y) VALUES (b.x, b.y)"
CHANGE = "WHEN MATCHED THEN UPDATE SET y = b.y"
MERGES = [
    (f"{ON} {CHANGE}", "column x b"),
    (f"{ON} {CHANGE} {NEW}", "column x b"),
    (f"{ON} {NEW}", "column x b"),
    (f"{ON} WHEN MATCHED AND b.y > t.y THEN DELETE", "column x b"),
    (f"{ON} WHEN MATCHED THEN DO NOTHING", "column x b"),
    (f"{ON} AND t.y = b.y {CHANGE} {NEW}", "column x b"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT VALUES (x, y)", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT VALUES (b.x, b.y)", "column x b"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (y, id) VALUES (1, b.x)", "column x b"),
    ("MERGE INTO t AS z USING b ON b.x = z.id WHEN MATCHED THEN DELETE", "column x b"),
    ("MERGE INTO t USING b AS q (k) ON t.id = k WHEN MATCHED THEN DELETE", "column x b"),
    ("MERGE INTO t USING public.b ON t.id = b.x WHEN MATCHED THEN DELETE", "column x b"),
    ("MERGE INTO t USING b ON t.id = b.x AND t.x = b.n WHEN MATCHED THEN DELETE", "two"),
    # The source is a subquery, a WITH query or a series.
    (
        (
            "MERGE INTO t USING (SELECT x AS k FROM b WHERE y > 1) s ON s.k = t.id "
            "WHEN MATCHED THEN DELETE"
        ),
        "column x b",
    ),
    (
        (
            "MERGE INTO t USING (SELECT x, max(y) AS y FROM b GROUP BY x) s ON s.x = t.id "
            "WHEN NOT MATCHED THEN INSERT VALUES (s.x, 1, s.y)"
        ),
        "column x b",
    ),
    (
        "WITH s AS (SELECT x FROM b) MERGE INTO t USING s ON s.x = t.id WHEN MATCHED THEN DELETE",
        "column x b",
    ),
    (
        (
            "WITH s AS (SELECT x FROM c) MERGE INTO t USING b ON b.x = t.id "
            "WHEN MATCHED AND b.x IN (TABLE s) AND b.x + 1 IN (TABLE s) THEN DELETE"
        ),
        "! cte",
    ),
    ("MERGE INTO t USING generate_series(1, 9) g ON t.id = g WHEN MATCHED THEN DELETE", "series g"),
    (
        (
            "MERGE INTO t USING generate_series(1, 9) AS g(k) ON t.id = k "
            "WHEN NOT MATCHED THEN INSERT (id) VALUES (g.k)"
        ),
        "series g",
    ),
    # ON does not keep chunks apart.
    ("MERGE INTO t USING b ON t.id = b.x + 1 WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON t.id > b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON t.id = b.x OR t.x = b.n WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON NOT t.id = b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON abs(t.id) = b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON b.n = b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON b.y = b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON t.id IS DISTINCT FROM b.x WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON t.id = 1 WHEN MATCHED THEN DELETE", "! merge-key"),
    ("MERGE INTO t USING b ON true WHEN NOT MATCHED THEN INSERT VALUES (b.x)", "! merge-key"),
    (
        "MERGE INTO t USING (SELECT x + 1 AS x FROM b) s ON s.x = t.id WHEN MATCHED THEN DELETE",
        "! merge-key",
    ),
    # Rows change their place.
    (f"{ON} WHEN MATCHED THEN UPDATE SET id = b.x", "! assigned-unique key-assigned"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (id) VALUES (b.x + 1)", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (id) VALUES (b.n)", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (y) VALUES (b.x)", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (id) OVERRIDING USER VALUE VALUES (b.x)", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT (id, y[1]) VALUES (b.x, 1)", "! merge"),
    (
        f"{ON} {NEW} WHEN NOT MATCHED AND b.y > 1 THEN INSERT (id) VALUES (7)",
        "! merge",
    ),
    # What looks at more than its own row.
    (f"{ON} WHEN NOT MATCHED BY SOURCE THEN DELETE {CHANGE}", "! merge"),
    (f"{ON} {CHANGE} RETURNING t.id", "! returning"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = (SELECT max(y) FROM t)", "! reads-target"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = (SELECT max(c.y) FROM c)", "column x b"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = (SELECT c.y FROM c LIMIT 1)", "! limit"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = app.lookup(b.y)", "! function-volatile"),
    (f"{ON} WHEN MATCHED AND random() < 0.5 THEN DELETE", "column x b"),
    (f"{ON} WHEN MATCHED AND app.lookup(b.y) > 1 THEN DELETE", "! function-volatile"),
    (f"{ON} WHEN MATCHED AND EXISTS (SELECT FROM t z) THEN DELETE", "! reads-target"),
    (f"{ON} AND random() < 0.5 {CHANGE}", "! volatile-subquery"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = DEFAULT", "! unknown-construct"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET (x, y) = (1, 2)", "! unknown-construct"),
    (
        "MERGE INTO t USING (SELECT id FROM t) s ON s.id = t.id WHEN MATCHED THEN DELETE",
        "! reads-target",
    ),
    ("MERGE INTO t USING t s ON s.id = t.id WHEN MATCHED THEN DELETE", "! reads-target"),
    # Sources that cannot be put into a subquery.
    (
        "MERGE INTO t USING b JOIN c USING (y) ON t.id = b.x WHEN MATCHED THEN DELETE",
        "! merge merge-key",
    ),
    (f"{ON} WHEN MATCHED AND b.ctid IS NOT NULL THEN DELETE", "! merge"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = b::text", "! merge"),
    (f"{ON} WHEN MATCHED THEN UPDATE SET y = b.*::text", "! merge"),
    (f"{ON} WHEN NOT MATCHED THEN INSERT VALUES (b.*)", "! merge"),
    (
        "MERGE INTO t USING public.b ON t.id = public.b.x WHEN MATCHED THEN DELETE",
        "! merge merge-key",
    ),
    (
        "MERGE INTO t USING generate_series(1, 9) AS g(k) ON t.id = g WHEN MATCHED THEN DELETE",
        "! merge merge-key",
    ),
    ("MERGE INTO t USING app.pieces(1) AS g ON t.id = g WHEN MATCHED THEN DELETE", "! merge"),
    ("MERGE INTO t USING v ON t.id = v.x WHEN MATCHED THEN DELETE", "! view"),
    ("MERGE INTO t USING temp ON t.id = temp.x WHEN MATCHED THEN DELETE", "! temporary-table"),
    ("MERGE INTO t USING part ON t.id = part.x WHEN MATCHED THEN DELETE", "column x part"),
    (
        (
            "MERGE INTO t USING (SELECT x FROM b UNION SELECT x FROM c) s ON t.id = s.x "
            "WHEN MATCHED THEN DELETE"
        ),
        "! no-driving-relation",
    ),
]


@pytest.mark.parametrize(("sql", "expected"), MERGES, ids=[case[0] for case in MERGES])
def test_merge(sql: str, expected: str) -> None:
    if expected == "two":
        expected = "column x b, column n b"
    assert in_words(verdict_of(sql, facts_of(BY_ID))) == expected


def test_rows_deleted_and_inserted_in_other_chunks_may_be_unique_together() -> None:
    both = f"{ON} WHEN MATCHED THEN DELETE {NEW}"
    other = UniqueIndex(("y",), frozenset({"y"}))
    assert in_words(verdict_of(both, facts_of(BY_ID))) == "column x b"
    assert in_words(verdict_of(both, facts_of(BY_ID, other))) == "! assigned-unique"
    wide = UniqueIndex(("y", "id"), frozenset({"y", "id"}))
    assert in_words(verdict_of(both, facts_of(BY_ID, wide))) == "column x b"


def test_the_same_operator_must_be_meant() -> None:
    facts = facts_of(BY_ID)
    users: dict[Name, tuple[FunctionFacts, ...]] = {("=",): facts.operators["***",]}
    found = verdict_of(f"{ON} {CHANGE}", replace(facts, operators=users))
    assert in_words(found) == "! merge-key"


def test_columns_of_other_types_are_equated_only_when_they_are_whole_numbers() -> None:
    for kind, expected in (
        ("bigint", "column x b"),
        ("numeric", "! merge-key"),
        ("text", "! merge-key"),
    ):
        facts = facts_of(BY_ID, columns=(ColumnFacts("id", None, type=kind),))
        assert in_words(verdict_of(f"{ON} {CHANGE}", facts)) == expected


@pytest.mark.parametrize(
    ("sql", "columns", "text"),
    [
        (
            f"{ON} {CHANGE}",
            ('"b"."x"', '"t"."id"'),
            (
                "MERGE INTO t USING (SELECT * FROM b WHERE R) b ON t.id = b.x AND R "
                "WHEN MATCHED THEN UPDATE SET y = b.y"
            ),
        ),
        (
            (
                "MERGE INTO t z USING (SELECT x FROM b WHERE y > 1) s ON z.id = s.x AND true "
                "WHEN NOT MATCHED THEN INSERT VALUES (s.x)"
            ),
            ('"b"."x"', '"z"."id"'),
            (
                "MERGE INTO t z USING (SELECT x FROM b WHERE y > 1 AND R) s "
                "ON z.id = s.x AND true AND R WHEN NOT MATCHED THEN INSERT VALUES (s.x)"
            ),
        ),
    ],
)
def test_a_chunk_of_a_merge_restricts_both_sides(
    sql: str, columns: tuple[str, ...], text: str
) -> None:
    facts = facts_of(BY_ID)
    split = split_of(sql, facts)
    template = restrict_column(split, split.candidates[0], facts, FROZEN_AT)
    assert tuple(column.replace('"', "") for (column,) in template.columns) == tuple(
        column.replace('"', "") for column in columns
    )
    assert "R".join(template.pieces) == text


def test_the_target_is_cut_only_by_bounds_of_its_own_type() -> None:
    for kind, meets in (("integer", "id"), ("bigint", None)):
        facts = facts_of(BY_ID, columns=(ColumnFacts("id", None, type=kind),))
        (candidate,) = split_of(f"{ON} {CHANGE}", facts).candidates
        assert candidate.meets == meets
    series = "MERGE INTO t USING generate_series(1, 9) g ON t.id = g WHEN MATCHED THEN DELETE"
    assert split_of(series, facts_of(BY_ID)).candidates[0].meets is None


def test_a_default_that_a_merge_leaves_out_may_not_be_volatile() -> None:
    facts = facts_of(BY_ID, columns=(ColumnFacts("x", "app.log_it(1)"),))
    assert in_words(verdict_of(f"{ON} {CHANGE}", facts)) == "column x b"
    assert in_words(verdict_of(f"{ON} {NEW}", facts)) == "! default-function"


def test_defaults_that_look_at_the_time_are_written_into_each_insert() -> None:
    facts = facts_of(BY_ID, columns=(ColumnFacts("y", "now()"),))
    sql = (
        f"{ON} WHEN NOT MATCHED AND b.n > 1 THEN INSERT VALUES (b.x, 2) "
        "WHEN NOT MATCHED THEN INSERT (id, y) VALUES (b.x, b.y)"
    )
    split = split_of(sql, facts)
    template = restrict_column(split, split.candidates[0], facts, FROZEN_AT)
    text = "".join(template.pieces)
    assert "INSERT (id, x, y) VALUES (b.x, 2, " in text
    assert FROZEN_AT in text
    assert text.endswith("INSERT (id, y) VALUES (b.x, b.y)")


def test_chunks_that_wait_are_marked() -> None:
    facts = facts_of(BY_ID)
    for rest, waits in (
        (f"SELECT g % 3 FROM generate_series(1, 9) g {NOTHING}", True),
        (f"SELECT g FROM generate_series(1, 9) g {NOTHING}", False),
    ):
        (candidate,) = split_of(f"INSERT INTO t {rest}", facts).candidates
        assert candidate.may_wait is waits


@pytest.mark.parametrize(
    "indexes",
    [
        (NO_OVERLAP,),
        (BY_ID, UniqueIndex(("x",), frozenset({"x"}))),
        (BY_ID, UniqueIndex(("id",), frozenset({"id"}), whole=False)),
    ],
)
def test_where_the_first_row_keeps_several_out_none_waits(indexes: tuple[UniqueIndex, ...]) -> None:
    """As many rows as one connection stores: (1, 1), (1, 2), (2, 2) are two or one by order."""
    sql = f"INSERT INTO t SELECT g % 3, g % 5 FROM generate_series(1, 9) g {NOTHING}"
    assert in_words(verdict_of(sql, facts_of(*indexes))) == "! on-conflict"


def test_a_generated_column_does_not_stay_in_its_range() -> None:
    facts = facts_of(BY_ID, columns=(ColumnFacts("id", "x + 1", generated=True),))
    assert in_words(verdict_of(f"{ON} {CHANGE}", facts)) == "! key-assigned"


@pytest.mark.parametrize(("action", "expected"), [(CHANGE, "column x b"), (NEW, "! merge")])
def test_a_key_that_is_rounded_when_it_is_inserted(action: str, expected: str) -> None:
    facts = facts_of(BY_ID, columns=(ColumnFacts("id", None, type="numeric", typmod=655366),))
    b = facts.relations["b",]
    columns = (ColumnFacts("x", None, type="numeric"), *b.columns[1:])
    relations = {**facts.relations, ("b",): replace(b, columns=columns)}
    assert in_words(verdict_of(f"{ON} {action}", replace(facts, relations=relations))) == expected
