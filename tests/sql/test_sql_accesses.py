"""What each statement touches: tables of cases, and that no kind of statement is left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accesses_known import KNOWN
from accesses_text import statement, written
from postgast import pg_query_pb2 as pb

from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.statements import BARRIERS, NEVER_ALONE, QUERIES, RULES, WIDE
from pgfan.sql.tree import kind_of, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "accesses"


def cases() -> Iterator[tuple[str, list[str]]]:
    """Each statement, and the indented lines below it."""
    for path in sorted(FOLDER.glob("*.txt")):
        sql, expected = "", []
        for line in path.read_text().splitlines():
            if line.startswith("    "):
                expected.append(line.strip())
            elif not line.startswith("#"):
                if sql:
                    yield sql, expected
                sql, expected = line, []
        yield sql, expected


CASES = list(cases())


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[sql for sql, _ in CASES])
def test_what_a_statement_touches(sql: str, expected: list[str]) -> None:
    assert written(ScriptAccesses(KNOWN).read([statement(sql)])) == expected


def test_every_relation_in_a_statement_is_touched() -> None:
    for sql, _ in CASES:
        tree = statement(sql)
        found = ScriptAccesses(KNOWN).read([tree])
        hidden = {node.ctename for node in walk(tree) if kind_of(node) == "CommonTableExpr"}
        named = {
            node.relname
            for node in walk(tree)
            if kind_of(node) == "RangeVar" and node.relname not in hidden
        }
        touched = {effect.object.name for effect in found.effects}
        assert found.barrier is not None or named <= touched, sql


def test_the_grammar_has_no_statement_that_nobody_thought_of() -> None:
    fields = pb.Node.DESCRIPTOR.oneofs[0].fields
    kinds = {field.message_type.name for field in fields}
    statements = {kind for kind in kinds if kind.endswith("Stmt")}
    groups = [set(RULES), set(QUERIES), set(BARRIERS), set(WIDE), set(NEVER_ALONE)]
    assert set().union(*groups) == statements
    assert sum(map(len, groups)) == len(statements)


def test_each_kind_of_statement_has_a_case() -> None:
    shown = {kind_of(node) for sql, _ in CASES for node in walk(statement(sql))}
    assert set(RULES) | set(QUERIES) | set(BARRIERS) | set(WIDE) <= shown


def test_a_kind_of_statement_that_is_not_known_is_a_barrier() -> None:
    assert written(ScriptAccesses(KNOWN).read([pb.Alias()])) == [
        "barrier statement-unknown, opaque"
    ]
