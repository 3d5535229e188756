"""What a COPY ... FROM asks for, in each of the grammar's spellings."""

from __future__ import annotations

import pytest

from pgfan.sql.copy_statement import CopyFrom, as_insert, read_copy_from, truth
from pgfan.sql.parsing import parse
from pgfan.sql.program import Program, Source
from pgfan.sql.tree import inner, names

CASES = {
    "COPY t FROM STDIN": CopyFrom('"t"', (), {}),
    "COPY s.\"T\" (a, b) FROM STDIN (FORMAT csv, HEADER, DELIMITER ';')": CopyFrom(
        '"s"."T"', ("a", "b"), {"format": "csv", "header": True, "delimiter": ";"}
    ),
    "COPY t FROM STDIN CSV HEADER NULL 'x' FORCE NOT NULL a": CopyFrom(
        '"t"', (), {"format": "csv", "header": True, "null": "x", "force_not_null": ("a",)}
    ),
    "COPY t FROM STDIN (HEADER match, WIDTHS '1,2', FREEZE 0)": CopyFrom(
        '"t"', (), {"header": "match", "widths": "1,2", "freeze": "0"}
    ),
    "COPY t FROM STDIN (NULL 'a', NULL 'b')": CopyFrom(
        '"t"', (), {"null": "a"}, "NULL is said twice"
    ),
    "COPY t FROM STDIN (FORCE_NULL *)": CopyFrom('"t"', (), {}, "FORCE_NULL has no names"),
    "COPY t FROM STDIN WHERE a > 1": CopyFrom('"t"', (), {}, "it has a WHERE"),
}


@pytest.mark.parametrize(("text", "wanted"), CASES.items(), ids=list(CASES))
def test_every_spelling_is_read(text: str, wanted: CopyFrom) -> None:
    assert read_copy_from(inner(parse(text).stmts[0].stmt)) == wanted


def test_words_for_on_and_off() -> None:
    given = (True, "ON", "false", "1", "0", "match", ("a",))
    assert [truth(value) for value in given] == [True, True, False, True, False, None, None]


def test_the_insert_beside_it_names_the_same_columns() -> None:
    insert = as_insert('"s"."T"', ("a", 'B "c"'))
    assert (insert.relation.schemaname, insert.relation.relname) == ("s", "T")
    assert [column.res_target.name for column in insert.cols] == ["a", 'B "c"']
    assert names(insert.relation.alias.colnames) == ()


def test_a_script_that_reads_another_file_is_another_script() -> None:
    texts = [
        "\\copy t FROM 'a.csv'\n",
        "\\copy t FROM 'b.csv'\n",
        "COPY t FROM STDIN;\n1\n\\.\n",
        "COPY t FROM STDIN;\n2\n\\.\n",
    ]
    programs = [Program.read_psql([Source("main.sql", text)], {}, str) for text in texts]
    assert len({program.texts for program in programs}) == len(texts)
