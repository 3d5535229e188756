"""One example run by one connection and by pgfan from the same state; their rows compared.

The serial run is rolled back, so that pgfan finds the very tables that it found; each further
driving relation that the analysis claims, and the next statement on the schema, is tried once the
table that was written has been made anew. Transaction times differ
between the runs: a date or time after 2020, which no example has as a constant, is compared as
"now", and as many different ones must be there.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import psycopg
from fuzz_tally import Tally
from msgspec.structs import replace
from psycopg import sql

from pgfan import api
from pgfan.sql import judged
from pgfan.sql.distribute import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fuzz_statements import Example

    from pgfan.errors import PgfanError
    from pgfan.execute.outcome import RunResult
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.facts import CatalogFacts

CANDIDATES_MAX = 3
"""Driving relations tried for one example."""
TIMEOUT = "5s"
"""Of the statement alone: what is looked at before and after it may wait for a busy machine."""
_NOW = re.compile(rb"20[2-9]\d-\d\d-\d\d.*")
_CLEAN = """DO $$
DECLARE command text;
BEGIN
    FOR command IN
        SELECT pg_catalog.format('DROP %s IF EXISTS %s CASCADE', type, identity)
        FROM pg_catalog.pg_depend,
            LATERAL pg_catalog.pg_identify_object(classid, objid, 0)
        WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
            AND refobjid = 'public'::pg_catalog.regnamespace
        ORDER BY type <> 'table'
    LOOP
        EXECUTE command;
    END LOOP;
END $$"""
"""The schema itself stays: connections keep their plans for as long as search_path is the same."""
_RELATIONS = (
    "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace "
    "AND relkind IN ('r', 'p', 'v', 'S', 'm') ORDER BY 1"
)
_COLUMNS = (
    "SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attnotnull, attcollation, "
    "attidentity, attgenerated, attcompression, attstorage, atthasdef, relpersistence "
    "FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class c ON c.oid = attrelid "
    "WHERE relname = %s AND relnamespace = 'public'::regnamespace "
    "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)
_PLANS = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_hashagg = off",
    "SET LOCAL enable_mergejoin = off; SET LOCAL enable_sort = off",
    "SET LOCAL enable_nestloop = off; SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_memoize = off",
    "SET LOCAL enable_incremental_sort = off; SET LOCAL enable_material = off",
)


class MismatchError(AssertionError):
    """The split run left another database than one connection does."""


@dataclass(frozen=True)
class State:
    """What a run left: the target's rows, as text, and columns; and the names of all relations."""

    rows: Counter[tuple[bytes | None, ...]]
    times: tuple[int, ...]
    columns: tuple[tuple[object, ...], ...]
    relations: tuple[str, ...]

    def compared(self, example: Example) -> object:
        if example.compared == "counts":
            return self.rows.total(), self.columns, self.relations
        return self


@dataclass
class Differential:
    """Compares examples in one database, which it empties for each schema."""

    dsn: str
    tally: Tally = field(default_factory=Tally)
    _schema: tuple[str, ...] | None = None
    """What the database was made of; None when nobody knows what is in it."""
    _restored: tuple[str, ...] = ()
    """What brings it back to that."""

    def __post_init__(self) -> None:
        settings = "-c client_min_messages=warning"
        self._connection = psycopg.connect(self.dsn, autocommit=True, options=settings)

    def close(self) -> None:
        self._connection.close()

    def check(self, example: Example) -> None:
        """Raise MismatchError when the runs differ; count the example."""
        try:
            self._check(example)
        except MismatchError:
            self._schema = None
            raise

    def _check(self, example: Example) -> None:
        try:
            self.reset(example)  # a view may not be possible
            expected = self._serial(example)
        except psycopg.Error as error:
            self._check_error(example, error)
            return
        number, candidates, codes, chunks = 0, 1, None, 0
        while number < min(candidates, CANDIDATES_MAX):
            if number:
                self.reset(example)
            result, claimed, chosen = self._split(example, number)
            candidates = len(claimed)
            task = result.tasks[-1]
            found = self.state(example.target) if result.ok else None
            if found is None or found.compared(example) != expected.compared(example):
                if self._is_unpredictable(example, expected):
                    self.tally.unpredicted(example)
                    return
                self.tally.stopped = True
                raise MismatchError(_described(example, result, chosen, expected, found))
            if task.verdict != "split":
                codes = tuple(code for code, _ in task.reasons)
            else:
                self.tally.runs += 1
                chunks = max(chunks, task.chunks)
            number += 1
        self.tally.compared(example, codes if chunks == 0 else None, chunks)

    def reset(self, example: Example) -> None:
        """Make what `example` is run on; all of it when another schema is there."""
        parts = (*self._restored, *example.added)
        if self._schema != example.schema or not example.restored:
            parts = (_CLEAN, *example.setup)
        self._schema = None
        self._connection.execute("; ".join(parts).encode())
        self._schema, self._restored = example.schema, example.restored

    def _serial(self, example: Example, settings: str = "") -> State:
        """The state after the statement on one connection; nothing of it stays."""
        connection = self._connection
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL statement_timeout = '{TIMEOUT}'; {settings}".encode())
            connection.execute(example.statement.encode())
            connection.execute("SET LOCAL statement_timeout = 0")
            return self.state(example.target)

    def state(self, target: str) -> State:
        """What the database holds now."""
        connection = self._connection
        relations = self._relations()
        columns = tuple(connection.execute(_COLUMNS, (target,)).fetchall())
        command = sql.SQL("TABLE {}").format(sql.Identifier(target)).as_bytes(connection)
        result = connection.pgconn.exec_(command)
        assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
        sequence = [i for i in range(result.nfields) if result.fname(i) == b"num"]
        rows: Counter[tuple[bytes | None, ...]] = Counter()
        times: list[set[bytes]] = [set() for _ in range(result.nfields)]
        for number in range(result.ntuples):
            row = [result.get_value(number, column) for column in range(result.nfields)]
            for column, value in enumerate(row):
                if value is not None and (_NOW.fullmatch(value) or column in sequence):
                    times[column].add(value)
                    row[column] = b"now" if column not in sequence else b"next"
            rows[tuple(row)] += 1
        return State(rows, tuple(len(found) for found in times), columns, relations)

    def _relations(self) -> tuple[str, ...]:
        return tuple(str(name) for (name,) in self._connection.execute(_RELATIONS).fetchall())

    def _split(self, example: Example, number: int) -> tuple[RunResult, list[Any], Any]:
        """Run with pgfan on the candidate of this number; all that were claimed; the one tried."""
        options = api.ExecOptions(
            jobs=example.jobs, chunk_rows=example.chunk_rows, split="always", journal_schema=None
        )
        with forced_candidate(number) as claimed:
            result = api.exec(self.dsn, example.statement, options)
        chosen = claimed[number] if number < len(claimed) else None
        return result, claimed, chosen

    def _check_error(self, example: Example, error: psycopg.Error) -> None:
        """Where one connection fails, pgfan must fail too, and leave no table that it made."""
        state, message = error.sqlstate or "", str(error).partition("\n")[0]
        if state != psycopg.errors.QueryCanceled.sqlstate:
            before = self._relations()
            result, _, chosen = self._split(example, 0)
            after = self._relations()
            if result.ok or after != before:
                self.tally.stopped = True
                text = f"one connection fails: {message}; relations {before}, then {after}"
                raise MismatchError(_described(example, result, chosen, text, None))
            self.tally.failed_split += result.tasks[-1].verdict == "split"
        self.tally.erred(example, state, message)

    def _is_unpredictable(self, example: Example, expected: State) -> bool:
        """Whether one connection gives other rows when it plans otherwise."""
        self.reset(example)
        for settings in _PLANS:
            try:
                found = self._serial(example, settings)
            except psycopg.Error:
                return True
            if found.compared(example) != expected.compared(example):
                return True
        return False


@contextmanager
def forced_candidate(number: int) -> Iterator[list[Any]]:
    """Leave the analysis only the candidate of this number; the list gets all that it claims.

    The last ones are what a user might name: any column, and two parts of one key.
    """
    claimed: list[Any] = []
    original: Callable[..., Any] = vars(judged)["distribute"]

    def one(tree: Any, facts: CatalogFacts) -> Any:  # noqa: ANN401  # whatever distribute takes
        verdict = original(tree, facts)
        candidates = getattr(verdict, "candidates", ())
        if not candidates:
            return verdict
        columns = {one.name for each in facts.relations.values() for one in each.columns}
        asked = original(tree, replace(facts, wanted=frozenset(columns)))
        named = _named(asked.candidates, str(tree)) if isinstance(asked, Split) else []
        more = [one for one in named if one not in candidates]
        claimed[:] = [*candidates[: CANDIDATES_MAX - len(more)], *more]
        if len(claimed) > 1 and number < len(claimed):
            taken = verdict if claimed[number] in candidates else asked
            return replace(taken, candidates=(claimed[number],))
        return verdict

    with mock.patch.object(judged, "distribute", one):
        yield claimed


def _named(candidates: Sequence[Candidate], text: str) -> list[Candidate]:
    """A key of two parts and a column of those that are sound; which ones, the statement tells."""
    columns = [one for one in candidates if one.key == "column"]
    pairs = [
        replace(first, then=(second,))
        for first in columns
        for second in candidates
        if first.is_beside(second) and first != second
    ]
    at = zlib.crc32(text.encode())
    return [found[at % len(found)] for found in (pairs, columns) if found]


def _described(
    example: Example, result: RunResult, chosen: object, expected: State | str, found: State | None
) -> str:
    """All that is needed to see and to repeat the mismatch."""
    task = result.tasks[-1]
    error: PgfanError | None = result.error
    lines = [
        "the split run differs from one connection",
        *(f"{part};" for part in example.setup),
        f"{example.statement};",
        f"-- {example.kind}, expected {example.expected}, compared by {example.compared}",
        f"-- verdict {task.verdict}, key {task.key}, {task.chunks} chunks, reasons {task.reasons}",
        f"-- chunk_rows {example.chunk_rows}, jobs {example.jobs}, candidate {chosen}",
    ]
    if error is not None:
        lines.append(f"-- pgfan failed: {error.message}")
    if isinstance(expected, str):
        lines.append(f"-- {expected}")
    elif found is not None:
        for title, left, right in (
            ("only one connection", expected, found),
            ("only split", found, expected),
        ):
            lines += [f"-- {title}: {row} x{n}" for row, n in (left.rows - right.rows).items()]
            lines.append(f"-- {title}: times {left.times}, relations {left.relations}")
            lines += [
                f"-- {title}: column {one}" for one in left.columns if one not in right.columns
            ]
    return "\n".join(lines)
