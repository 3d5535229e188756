from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.report.safe_text import clean, redact_dsn, secret_spans

REDACTED = {
    "postgresql://u:pw@h/db": "postgresql://u:***@h/db",
    "postgres://u:pw@h": "postgres://u:***@h",
    "postgresql://u:p%40w@h1:1,h2:2/db?sslmode=off": "postgresql://u:***@h1:1,h2:2/db?sslmode=off",
    "postgresql://u@h/db?password=pw&user=x": "postgresql://u@h/db?password=***&user=x",
    "postgresql:///db?user=x&sslpassword=pw": "postgresql:///db?user=x&sslpassword=***",
    "postgresql://h/db?pass%77ord=pw": "postgresql://h/db?pass%77ord=***",
    "postgresql://:pw@/db": "postgresql://:***@/db",
    "postgresql://u:@h/db": "postgresql://u:@h/db",
    "postgresql://u:p@ss/w?d@h/db": "postgresql://u:***@h/db",
    "postgresql://u:two words@h/db": "postgresql://u:***@h/db",
    "postgresql://u:pw@h/db?application_name=me@here": "postgresql://u:***@h/db?application_name=me@here",
    "http://h/?password=pw&user=x": "http://h/?password=***&user=x",
    "postgresql://h:5432/db": "postgresql://h:5432/db",
    "postgresql://u@h:5432/db": "postgresql://u@h:5432/db",
    "host=h password=pw dbname=d": "host=h password=*** dbname=d",
    "host=h password = 'p w' dbname=d": "host=h password = *** dbname=d",
    r"password='it\'s' user=u": "password=*** user=u",
    r"password=a\ b user=u": "password=*** user=u",
    r"password='ends in \\' user=u": "password=*** user=u",
    "password='unterminated user=u": "password=***",
    "password='x\\": "password=***",
    "password=two words user=u": "password=*** user=u",
    "host=h user=u": "host=h user=u",
    "dbname='postgresql://u:pw@h/db'": "dbname='postgresql://u:***@h/db'",
    "application_name='password=x' user=u": "application_name='password=*** user=u",
    'could not use "postgresql://u:pw@h/db": no': 'could not use "postgresql://u:***@h/db": no',
    "tried postgres://a:x@h and postgres://b:y@i": "tried postgres://a:***@h and postgres://b:***@i",
    "postgres://h/d?x=1 then postgres://u:pw@h": "postgres://h/d?x=1 then postgres://u:***@h",
    "PGPASSWORD=pw psql": "PGPASSWORD=*** psql",
    'missing "=" after "words" in connection info': 'missing "=" after "***" in connection info',
    "INSERT INTO t SELECT 1": "INSERT INTO t SELECT 1",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), REDACTED.items())
def test_passwords_are_masked_in_both_forms_and_in_messages(text: str, expected: str) -> None:
    assert redact_dsn(text) == expected


@given(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["host=h password={} user=u", "password={}", "user=u password = {}"]),
)
def test_a_quoted_password_never_survives(password: str, form: str) -> None:
    quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert redact_dsn(form.format(quoted)) == form.format("***")


@pytest.mark.parametrize(
    "piece",
    [
        "password=",
        "password='",
        "'",
        "\\",
        "postgres://",
        "postgres://a:",
        "a=1 ",
        " ",
        "password ",
    ],
)
def test_spans_are_ordered_and_inside_the_text_however_odd_it_is(piece: str) -> None:
    text = "x=1 " + piece * 2_000 + "password"
    edges = [edge for span in secret_spans(text) for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(text) for edge in edges)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain [red]x[/red] <script>", "plain [red]x[/red] <script>"),
        ("a\x1b[31mb\x07", r"a\x1b[31mb\x07"),
        ("a\nb\tc\r\u2028d", "a b c  d"),
        ("right\u202eleft", r"right\u202eleft"),
        ("half \ud800 pair", r"half \ud800 pair"),
        ("\x9b31m", r"\x9b31m"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("क\u200dष é日本 👩\u200d🔬", "क\u200dष é日本 👩\u200d🔬"),
        ("x" * 30, "x" * 19 + "…"),
        ("\x1b" * 10, r"\x1b\x1b\x1b\x1b\x1"[:19] + "…"),
        ("x" * 20, "x" * 20),
    ],
)
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str, expected: str) -> None:
    assert clean(text, 30 if len(expected) != 20 else 20) == expected


@given(st.text(), st.integers(1, 50))
def test_clean_is_one_bounded_line(text: str, max_chars: int) -> None:
    cleaned = clean(text, max_chars)
    assert len(cleaned) <= max_chars
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in cleaned)
    cleaned.encode()
