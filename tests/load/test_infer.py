from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from pgfan.load.infer import NAME_BYTES_MAX, Column, column_names, create_table, infer_columns
from pgfan.load.infer import widened as wider_type

if TYPE_CHECKING:
    from collections.abc import Sequence


def type_of(*values: str | None, whole: bool = True) -> str:
    (column,) = infer_columns(["c"], [(value,) for value in values], whole=whole)
    return column.type


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([], "text"),
        ([None, None], "text"),
        (["1", None, "-32768"], "smallint"),
        (["32768"], "integer"),
        (["-2147483648", "2147483647"], "integer"),
        (["2147483648"], "bigint"),
        (["9223372036854775807"], "bigint"),
        (["9223372036854775808"], "numeric"),
        ([" 5", "6 "], "smallint"),
        (["5", ""], "text"),
        (["007", "12"], "text"),
        (["+34600123456"], "text"),
        (["08.5"], "text"),
        (["+1.5", "-2.25", ".5", "7."], "numeric"),
        (["1", "2.50"], "numeric"),
        (["-0.5", "0"], "numeric"),
        (["-0"], "double precision"),
        (["1", "NaN", "-Infinity"], "numeric"),
        (["NaN", "nan"], "text"),
        (["1e5", "2.5", "inf"], "double precision"),
        (["1e5", "0.12345678901234567890123"], "numeric"),
        (["1e400"], "numeric"),
        (["1e400", "-0"], "text"),
        (["1e999999"], "text"),
        (["1" * 5000], "numeric"),
        (["0x1F"], "text"),
        (["1_000"], "text"),
        (["1,000"], "text"),
        (["2024-02-29"], "date"),
        (["2023-02-29"], "text"),
        (["0000-00-00", "2024-01-01"], "text"),
        (["infinity", "0044-03-15 BC", "10000-01-01"], "date"),
        (["infinity"], "text"),
        (["31/12/2024"], "text"),
        (["2024-01-01", "2024-01-01 10:00"], "timestamp"),
        (["2024-01-01T10:00:00.123456"], "timestamp"),
        (["2024-01-01T10:00:00.123456000"], "timestamp"),
        (["2024-01-01T10:00:00.1234567"], "text"),
        (["2024-01-01T24:00:00"], "text"),
        (["2024-01-01 10:00:60"], "text"),
        (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+05:30"], "timestamptz"),
        (["2024-01-01 10:00:00-00:14:44", "0044-03-15 10:00:00+01 BC"], "timestamptz"),
        (["2024-01-01 10:00:00", "2024-01-01 10:00:00+00"], "text"),
        (["true", "FALSE"], "boolean"),
        (["true"], "boolean"),
        (["t", "f"], "boolean"),
        (["f"], "text"),
        (["f", "m"], "text"),
        (["Yes", "no", None], "boolean"),
        (["yes"], "text"),
        (["yes", "f"], "text"),
        (["on", "off"], "boolean"),
        (["1", "0"], "smallint"),
        (["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], "uuid"),
        (["a0eebc999c0b4ef8bb6d6bb9bd380a11"], "text"),
        (['{"a": 1}', "[1, null]"], "jsonb"),
        (['{"a": 1, "a": 2}'], "json"),
        (['{"a": "\\u0000"}'], "json"),
        (['{"a": NaN}'], "text"),
        (["{a,b}"], "text"),
        (["[" * 100_000], "text"),
        (['"a"', "12"], "text"),
    ],
)
def test_the_first_type_that_keeps_every_value(values: list[str | None], type_: str) -> None:
    assert type_of(*values) == type_


def test_a_sample_that_is_not_the_whole_leaves_integers_room_to_grow() -> None:
    assert type_of("3276", whole=False) == "smallint"
    assert type_of("3277", whole=False) == "integer"
    assert type_of("-900000000000000000000", whole=False) == "numeric"
    assert type_of("9000000000000000000", whole=False) == "bigint"


def test_a_spelling_of_null_that_costs_a_type_is_named() -> None:
    (column,) = infer_columns(["c"], [["1"], ["NA"], ["2"]])
    assert column == Column("c", "text", "smallint but for 'NA', were that NULL")
    (column,) = infer_columns(["c"], [["1"], ["NA"], ["none"]])
    assert column == Column("c", "text")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["2,5", "-1.234,50", "3"], "numbers with commas"),
        (["1,234", "12"], "numbers with commas"),
        (["31/12/2020", "1/2/2021"], "PGDATESTYLE"),
        (["31.12.2020"], "PGDATESTYLE"),
        (["007", "12"], None),
        (["31/12-2020"], None),
        (["a,b"], None),
    ],
)
def test_text_that_could_be_more_is_told(values: list[str], note: str | None) -> None:
    (column,) = infer_columns(["c"], [[value] for value in values])
    assert column.type == "text"
    assert column.note is note or (note is not None and note in (column.note or ""))


def test_ragged_records_are_left_to_copy() -> None:
    assert [c.type for c in infer_columns(["a", "b"], [["1", "x"], ["y"], ["z", "z", "z"]])] == [
        "smallint",
        "text",
    ]


@pytest.mark.parametrize(
    ("type_", "value", "wider"),
    [
        ("smallint", "70000", "integer"),
        ("smallint", "70000.5", "numeric"),
        ("integer", "-0", "double precision"),
        ("bigint", "abc", "text"),
        ("numeric", "abc", "text"),
        ("double precision", "1e400", "numeric"),
        ("date", "2024-01-01 10:00", "timestamp"),
        ("timestamp", "2024-01-01 10:00Z", "text"),
        ("jsonb", '{"a": "\\u0000"}', "json"),
        ("boolean", "2", "text"),
    ],
)
def test_the_type_that_would_have_taken_a_refused_value(type_: str, value: str, wider: str) -> None:
    assert wider_type(type_, value) == wider


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["id", "Name", "select"], ["id", "Name", "select"]),
        ([" a ", "b\nc", "d\0e"], ["a", "b c", "d e"]),
        (["a", "a", "a_2", "a"], ["a", "a_3", "a_2", "a_4"]),
        (["", "column_1", " "], ["column_1_2", "column_1", "column_3"]),
        (["ctid", "XMIN", "ctid_"], ["ctid_", "XMIN", "ctid__2"]),
        (["é" * 40], ["é" * 31]),
        (["x" * 70, "x" * 63], ["x" * 63, "x" * 61 + "_2"]),
        (['say "hi"'], ['say "hi"']),
    ],
)
def test_names_that_one_table_can_have(header: list[str], names: list[str]) -> None:
    assert list(column_names(header)) == names


@settings(max_examples=30)
@given(st.lists(st.text(max_size=70), max_size=5))
def test_names_are_unique_and_fit_whatever_the_header(header: list[str]) -> None:
    header = [name.encode("utf-8", "ignore").decode() for name in header]
    names = column_names(header)
    assert len(set(names)) == len(header)
    assert all(0 < len(name.encode()) <= NAME_BYTES_MAX and "\0" not in name for name in names)
    assert column_names(header) == names


def test_the_ddl_quotes_names_and_shows_notes() -> None:
    columns = [Column('a "b"', "smallint"), Column("c", "text", "date but for '\n'")]
    assert create_table(("s", "T"), columns) == (
        'CREATE TABLE "s"."T" (\n    "a ""b""" smallint,\n    "c" text  -- date but for \'?\'\n)'
    )


WRITTEN = {
    "smallint": "unnest(ARRAY[-32768, 0, 32767]::smallint[])",
    "integer": "unnest(ARRAY[-2147483648, 2147483647])",
    "bigint": "unnest(ARRAY[-9223372036854775808, 9223372036854775807])",
    "numeric": "unnest(ARRAY[1e40, -0.000, 1.50, 1e-30, 'NaN', 'Infinity']::numeric[])",
    "double precision": "unnest(ARRAY[0.1, 1e300, 5e-324, '-0', 1/3.0, 'NaN', '-Infinity', "
    "1.7976931348623157e308]::float8[])",
    "date": "unnest(ARRAY['0044-03-15 BC', '2000-02-29', '99999-12-31', 'infinity']::date[])",
    "timestamp": "unnest(ARRAY['4712-01-01 BC', '2024-05-06 07:08:09.000001', "
    "'-infinity']::timestamp[])",
    "timestamptz": "unnest(ARRAY['0001-01-01 BC', '1850-01-01', '2024-10-27 02:30:00.5', "
    "'infinity']::timestamptz[])",
    "boolean": "unnest(ARRAY[true, false])",
    "uuid": "unnest(ARRAY[gen_random_uuid(), '00000000-0000-0000-0000-000000000000'])",
    "jsonb": """unnest(ARRAY['{"a": {"b": [1.50, 1e3, "\\"\\u00e9"]}}', '[]']::jsonb[])""",
    "text": "unnest(ARRAY['007', ' x ', E'a\\tb'])",
}


def test_what_the_server_writes_gets_a_type_that_takes_it_back(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'Europe/Madrid'")
        for type_, source in WRITTEN.items():
            written = [row[0] for row in connection.execute(f"SELECT ({source})::text").fetchall()]
            assert type_of(*written) == type_, written
            back = read_back(connection, type_, written)
            assert back == written
        # Types that are not inferred come back from text.
        for source in ("'\\xff00'::bytea", "'{1,NULL}'::int[]", "interval '1 day'", "'a=>1'"):
            written = [row[0] for row in connection.execute(f"SELECT ({source})::text").fetchall()]
            assert type_of(*written) == "text"


def read_back(connection: psycopg.Connection, type_: str, written: Sequence[str]) -> list[str]:
    query = sql.SQL("SELECT v::{type}::text FROM unnest(%s::text[]) AS v").format(
        type=sql.SQL(type_)
    )
    return [row[0] for row in connection.execute(query, [list(written)]).fetchall()]


def test_every_inferred_type_takes_the_values_that_led_to_it(dsn: str) -> None:
    values = [
        ["+1.5", ".5", "7.", " 3 ", "-0.5"],
        ["1e5", "inf", "-0", "5e-324"],
        ["1e400", "0.12345678901234567890123"],
        ["Yes", "nO"],
        ["On", "off"],
        ["2024-01-01T10:00Z", "2024-01-01 10:00:00.5+0530", "2024-01-01 10:00-15:59:59"],
        ["2024-01-01T10:00:00.123456000", "294275-12-31 23:59:59.999999", "4712-01-01 BC"],
        ["294275-12-31 23:59:59.999999-15:59", "4712-01-01 00:00:00+15:59 BC"],
        ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
        ['{"a": "\\u0000"}', '{"a": 1, "a": 2}', '["\\ud800"]'],
        ["9" * 131_072, "0." + "1" * 16_383],
    ]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for column in values:
            type_ = type_of(*column)
            assert type_ != "text", column
            read_back(connection, type_, column)
