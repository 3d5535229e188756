from __future__ import annotations

import postgast
import pytest

from pgfan.sql.layout import laid_out

CASES = [
    ("SELECT 1", ["SELECT 1"]),
    (
        "INSERT INTO t SELECT a, b FROM x WHERE a > 1 GROUP BY a, b ORDER BY a LIMIT 3",
        [
            "INSERT INTO t",
            "SELECT a, b",
            "FROM x",
            "WHERE a > 1",
            "GROUP BY a, b",
            "ORDER BY a",
            "LIMIT 3",
        ],
    ),
    (
        "SELECT 1 FROM a JOIN b USING (i) LEFT JOIN c ON b.i = c.i CROSS JOIN d",
        [
            "SELECT 1",
            "FROM a",
            "  JOIN b USING (i)",
            "  LEFT JOIN c ON b.i = c.i",
            "  CROSS JOIN d",
        ],
    ),
    ("DELETE FROM t USING u WHERE t.i = u.i", ["DELETE FROM t USING u", "WHERE t.i = u.i"]),
    ("UPDATE t SET a = 1 FROM u", ["UPDATE t", "SET a = 1", "FROM u"]),
    # Inside of parentheses nothing begins a line.
    (
        "SELECT (SELECT 1 FROM x WHERE y), extract(year FROM d) FROM a",
        ["SELECT (SELECT 1 FROM x WHERE y), extract(year FROM d)", "FROM a"],
    ),
    ("SELECT a IS DISTINCT FROM b FROM c", ["SELECT a IS DISTINCT FROM b", "FROM c"]),
    # Blanks in literals and quoted names stay.
    (
        "SELECT 'a  FROM  b', \"c  WHERE d\", $$ FROM $$ FROM é",
        ["SELECT 'a  FROM  b', \"c  WHERE d\", $$ FROM $$", "FROM é"],
    ),
    # What may not be touched.
    ("SELECT 1 -- FROM x\nFROM a", ["SELECT 1 -- FROM x", "FROM a"]),
    ("SELECT 'a'\n'b' FROM a", ["SELECT 'a'\n'b'", "FROM a"]),
    ("SELECT 'open FROM a", ["SELECT 'open FROM a"]),
    ("", [""]),
]


@pytest.mark.parametrize(("sql", "lines"), CASES)
def test_lines(sql: str, lines: list[str]) -> None:
    assert laid_out(sql, 80) == lines


def test_long_lines_are_broken_between_tokens() -> None:
    literal = "'" + "x y " * 20 + "'"
    sql = f"SELECT {', '.join(f'c{number}' for number in range(30))}, {literal} FROM a"
    lines = laid_out(sql, 40)
    assert [line for line in lines if len(line) > 40] == [f"    {literal}"]
    assert all(line.startswith("    ") for line in lines[1:-1])


@pytest.mark.parametrize("sql", [sql for sql, _ in CASES if sql and "open" not in sql])
@pytest.mark.parametrize("width", [1, 20, 80])
def test_the_meaning_stays(sql: str, width: int) -> None:
    again = postgast.parse("\n".join(laid_out(sql, width)))
    assert postgast.deparse(again) == postgast.deparse(postgast.parse(sql))
