"""What the journal knows of projects: what was built, what was made, and which run is under way.

The tables are made when the first project asks for them. All that a run changes here is in two
transactions: the one that begins it, with the drops, and the one that ends it. What a client that
was killed had done is in the tasks of its run: `settled` adds it, when the next command comes.
Which objects are a project's is kept by their oids (`pgfan.postgres.owned`).
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from pgfan.plan.rebuild import Built
from pgfan.postgres.journal import EQ
from pgfan.postgres.journal_schema import rows_of_query
from pgfan.postgres.owned import existing
from pgfan.postgres.project_records import Changed, Made, Memory, Pending
from pgfan.quoting import identifier, literal
from pgfan.reading.data_files import DataFile
from pgfan.sql.effects import ObjectName
from pgfan.sql.footprint import Footprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pgfan.plan.rebuild import Task
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.owned import Existing
    from pgfan.postgres.session import PostgresSession

_NE = "OPERATOR(pg_catalog.<>)"
_NO_LOOPS = "enable_nestloop = off"
"""Rows of this run are in no statistics yet: the server would take 20,000 of them for one."""
_COLUMNS = "number, fingerprint, text, files, place, footprint, run, task"
_TYPES = (
    "number pg_catalog.int4, fingerprint pg_catalog.text, text pg_catalog.text, "
    "files pg_catalog.text, place pg_catalog.text, footprint pg_catalog.json, "
    "run pg_catalog.text, task pg_catalog.int4"
)


class ProjectJournal:
    """What the journal in schema `schema` has of the project `name`."""

    def __init__(self, schema: str, name: str) -> None:
        self._name = name
        self._schema = identifier(schema)
        self._project = literal(name)
        self._mine = f"project {EQ} {self._project}"

    def exists(self, session: PostgresSession) -> bool:
        """Whether any project was ever run here."""
        found = f"pg_catalog.to_regclass({literal(self._schema + '.data_file')}) IS NOT NULL"
        return rows_of_query(session, f"SELECT {found}")[0][0] == "t"

    def create(self, session: PostgresSession) -> None:
        """Make the tables, if there are none, and the project."""
        if not self.exists(session):
            script = resources.files(__package__).joinpath("projects.sql").read_text("utf-8")
            session.execute(
                "BEGIN; SET LOCAL client_min_messages = warning; "
                f"{script.replace('{schema}', self._schema)} COMMIT"
            )
        session.execute(
            f"INSERT INTO {self._schema}.project (name) VALUES ({self._project}) "
            "ON CONFLICT DO NOTHING"
        )

    def forget(self, session: PostgresSession) -> bool:
        """Delete all that is known of the project, not what it made; False: nothing is known."""
        if not self.exists(session):
            return False
        session.execute(f"DELETE FROM {self._schema}.built_unlogged WHERE {self._mine}")
        deleted = session.execute(
            f"DELETE FROM {self._schema}.project WHERE name {EQ} {self._project}"
        )
        return bool(deleted[-1].row_count)

    # Reading ------------------------------------------------------------------------------------

    def read(self, session: PostgresSession) -> Memory:
        """What is known, but for what was built."""
        whole, made, files, pending, emptied = rows_of_query(
            session,
            f"SELECT (SELECT whole FROM {self._schema}.project WHERE name {EQ} {self._project}), "
            "(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', "
            "pg_catalog.json_build_array(kind, schema, name), 'catalog', catalog, "
            f"'oid', oid::pg_catalog.int8)) FROM {self._schema}.made WHERE {self._mine}), "
            "(SELECT pg_catalog.json_object_agg(path, pg_catalog.json_build_object('size_bytes', "
            "size_bytes, 'changed_ns', changed_ns, 'sha256', sha256)) "
            f"FROM {self._schema}.data_file WHERE {self._mine}), "
            f"(SELECT plan FROM {self._schema}.pending WHERE {self._mine}), "
            f"EXISTS (SELECT FROM {self._schema}.built b WHERE {self._mine} AND {self._emptied})",
        )[0]
        return Memory(
            whole,
            msgspec.json.decode(made or "[]", type=tuple[Made, ...]),
            msgspec.json.decode(pending, type=Pending) if pending else None,
            msgspec.json.decode(files or "{}", type=dict[str, DataFile]),
            emptied == "t",
        )

    def built(self, session: PostgresSession) -> tuple[list[int], list[Built]]:
        """What was built, in the order in which it was done, and the numbers that it has here."""
        rows = rows_of_query(
            session,
            "SELECT number, fingerprint, text, place, footprint, files, "
            f"state {EQ} 'done' AND NOT ({self._emptied}) FROM {self._schema}.built b "
            f"WHERE {self._mine} AND state {_NE} 'begun' ORDER BY number",
        )
        decode = msgspec.json.Decoder(Footprint).decode
        return [int(row[0] or 0) for row in rows], [
            Built(
                fingerprint=row[1] or "",
                text=row[2] or "",
                place=row[3] or "",
                footprint=decode(row[4] or "{}"),
                files=row[5] or "",
                complete=row[6] == "t",
            )
            for row in rows
        ]

    @property
    def _emptied(self) -> str:
        return (
            f"b.unlogged AND NOT EXISTS (SELECT FROM {self._schema}.built_unlogged u WHERE "
            f"u.project {EQ} b.project AND u.number {EQ} b.number)"
        )

    # A run begins -------------------------------------------------------------------------------

    def begin(
        self,
        session: PostgresSession,
        pending: Pending,
        tasks: Sequence[tuple[str, Task]],
        undone: Sequence[int],
        gone: Iterable[tuple[str, int]],
    ) -> None:
        """Write that a run begins with `tasks` and their fingerprints, in its transaction.

        `undone` are the numbers of what is built no more, `gone` catalogs and oids of what was
        dropped.
        """
        session.execute(
            f"UPDATE {self._schema}.project SET whole = NULL WHERE name {EQ} {self._project}; "
            f"{self.undo(undone, gone)}; "
            f"INSERT INTO {self._schema}.pending VALUES ({self._project}, "
            f"{literal(pending.run)}, {literal(msgspec.json.encode(pending).decode())})"
        )
        most = f"SELECT pg_catalog.max(number) FROM {self._schema}.built WHERE {self._mine}"
        begin = int(rows_of_query(session, most)[0][0] or 0) + 1
        rows = [
            {
                "number": begin + index,
                "fingerprint": fingerprint,
                "text": task.text,
                "files": task.files,
                "place": task.place,
                "footprint": task.footprint,
                "run": pending.run,
                "task": index,
            }
            for index, (fingerprint, task) in enumerate(tasks)
        ]
        session.execute(
            f"INSERT INTO {self._schema}.built (project, state, {_COLUMNS}) "
            f"SELECT {self._project}, 'begun', {_COLUMNS} FROM pg_catalog.json_to_recordset("
            f"{literal(msgspec.json.encode(rows).decode())}) "
            f"AS r ({_TYPES})"
        )

    def undo(self, undone: Sequence[int], gone: Iterable[tuple[str, int]]) -> str:
        """SQL that forgets what is built no more, by its numbers, and what was dropped."""
        return (
            f"DELETE FROM {self._schema}.built WHERE {self._mine} "
            f"AND number {EQ} ANY ({_integers(undone)}); "
            f"DELETE FROM {self._schema}.built_unlogged WHERE {self._mine} "
            f"AND number {EQ} ANY ({_integers(undone)}); {self._unmade(gone)}"
        )

    # A run ends ---------------------------------------------------------------------------------

    def changed(
        self, session: PostgresSession, journal: PostgresJournal, memory: Memory
    ) -> Changed:
        """What the pending run has made and dropped so far, as the database is now."""
        pending = memory.pending
        if pending is None:
            return Changed()
        vanished = journal.vanished(session, pending.run)
        states = self._states(session, journal, pending.run, vanished)
        session.execute(f"SET {_NO_LOOPS}")
        rows = rows_of_query(
            session, f"SELECT footprint FROM ({states}) s WHERE state {_NE} 'begun'"
        )
        session.execute("RESET enable_nestloop")
        decode = msgspec.json.Decoder(Footprint).decode
        found = [decode(row[0] or "{}") for row in rows]
        makes = frozenset[ObjectName]().union(*(one.makes for one in found))
        alters = frozenset[ObjectName]().union(*(one.alters | one.clears for one in found))
        there = existing(session, makes | {one.name for one in memory.made})
        oids = {(one.catalog, one.oid) for one in there}
        before = {*pending.before, *memory.owned}
        return Changed(
            tuple(
                Made(one.name, one.catalog, one.oid)
                for one in ours(there)
                if one.name in makes and (one.catalog, one.oid) not in before
            ),
            tuple(
                one
                for one in memory.made
                if one.name in alters and (one.catalog, one.oid) not in oids
            ),
            vanished,
        )

    def settled(
        self,
        session: PostgresSession,
        journal: PostgresJournal,
        pending: Pending,
        changed: Changed,
        *,
        done: bool,
    ) -> str:
        """SQL that adds what the pending run has done so far to what was built and made.

        `done`: all of it is. To be called by the run's owner, when no worker of it is left.
        """
        states = self._states(session, journal, pending.run, changed.vanished)
        steps = [
            f"SET LOCAL {_NO_LOOPS}",
            (
                f"UPDATE {self._schema}.built b SET state = s.state, unlogged = s.unlogged IS TRUE "
                f"FROM ({states}) s WHERE b.{self._mine} AND b.number {EQ} s.number "
                f"AND s.state {_NE} 'begun'"
            ),
            (
                f"INSERT INTO {self._schema}.built_unlogged SELECT project, number "
                f"FROM {self._schema}.built WHERE {self._mine} AND run {EQ} {literal(pending.run)} "
                f"AND state {EQ} 'done' AND unlogged ON CONFLICT DO NOTHING"
            ),
            *self._own(changed.new),
            self._unmade((one.catalog, one.oid) for one in changed.gone),
        ]
        if done:
            steps += [self.close(), self.set_whole(pending.target)]
        return "; ".join(steps)

    def close(self) -> str:
        """SQL after which nobody goes on with the pending run: what is not done is forgotten."""
        return (
            f"DELETE FROM {self._schema}.built WHERE {self._mine} AND state {EQ} 'begun'; "
            f"DELETE FROM {self._schema}.pending WHERE {self._mine}"
        )

    def _states(
        self,
        session: PostgresSession,
        journal: PostgresJournal,
        run: str,
        vanished: Sequence[int],
    ) -> str:
        """Of each task that the run began with: its number here, footprint, state, unlogged.

        Of a run that was forgotten nobody knows what it had done.
        """
        known = bool(journal.runs(session, run=run))
        otherwise = literal("begun" if known else "part")
        return (
            f"SELECT b.number, b.footprint, COALESCE(d.state, {otherwise}) AS state, d.unlogged "
            f"FROM {self._schema}.built b LEFT JOIN ({self._of_run(run, vanished)}) d "
            f"ON d.number {EQ} b.task WHERE b.{self._mine} AND b.run {EQ} {literal(run)}"
        )

    def _of_run(self, run: str, vanished: Sequence[int]) -> str:
        """The tasks of a run that have left something: number, state , state, unlogged."""
        chunks = " UNION ALL ".join(
            f"SELECT 1 FROM {self._schema}.{table} c WHERE c.task {EQ} t.key"
            for table in ("chunk", "chunk_unlogged")
        )
        emptied = f"t.number {EQ} ANY ({_integers(vanished)})"
        return (
            f"SELECT t.number, CASE WHEN t.state {EQ} 'done' AND NOT {emptied} "
            "THEN 'done' ELSE 'part' END AS state, "
            "(t.plan OPERATOR(pg_catalog.->) 'unlogged')::pg_catalog.bool AS unlogged "
            f"FROM {self._schema}.task t WHERE t.run {EQ} {literal(run)} "
            f"AND (t.state {EQ} ANY (ARRAY['done', 'outside']) OR EXISTS ({chunks}))"
        )

    def _own(self, new: Iterable[Made]) -> Iterable[str]:
        for one in new:
            values = (self._name, *one.name, one.catalog, one.oid)
            yield (
                f"INSERT INTO {self._schema}.made (project, kind, schema, name, catalog, oid) "
                f"VALUES ({', '.join(map(literal, values))}) ON CONFLICT DO NOTHING"
            )

    def _unmade(self, objects: Iterable[tuple[str, int]]) -> str:
        pairs = [[catalog, str(oid)] for catalog, oid in objects]
        return (
            f"DELETE FROM {self._schema}.made m USING pg_catalog.json_array_elements("
            f"{literal(json.dumps(pairs))}) p WHERE {self._mine} "
            f"AND m.catalog {EQ} (p.value OPERATOR(pg_catalog.->>) 0) "
            f"AND m.oid {EQ} (p.value OPERATOR(pg_catalog.->>) 1)::pg_catalog.oid"
        )

    # Small writes -------------------------------------------------------------------------------

    def set_whole(self, target: str) -> str:
        """SQL that says of which script all is built."""
        return (
            f"UPDATE {self._schema}.project SET whole = {literal(target)} "
            f"WHERE name {EQ} {self._project}"
        )

    def renew(self, tasks: Iterable[tuple[str, str, Footprint]]) -> str:
        """SQL that gives what was built other footprints: (old and new fingerprint, footprint)."""
        rows = [{"old": old, "new": new, "footprint": touched} for old, new, touched in tasks]
        return (
            f"UPDATE {self._schema}.built b SET fingerprint = r.new, footprint = r.footprint "
            f"FROM pg_catalog.json_to_recordset("
            f"{literal(msgspec.json.encode(rows).decode())}) AS r "
            "(old pg_catalog.text, new pg_catalog.text, footprint pg_catalog.json) "
            f"WHERE {self._mine} AND b.fingerprint {EQ} r.old"
        )

    def keep_files(self, files: Mapping[str, DataFile]) -> str:
        """SQL that replaces what is known of data files."""
        rows = [
            {"path": path, **msgspec.structs.asdict(file)} for path, file in sorted(files.items())
        ]
        return (
            f"DELETE FROM {self._schema}.data_file WHERE {self._mine}; "
            f"INSERT INTO {self._schema}.data_file SELECT {self._project}, r.* "
            f"FROM pg_catalog.json_to_recordset({literal(json.dumps(rows))}) AS r "
            "(path pg_catalog.text, size_bytes pg_catalog.int8, changed_ns pg_catalog.int8, "
            "sha256 pg_catalog.text)"
        )


def ours(found: Sequence[Existing]) -> list[Existing]:
    """Those of the objects of which a name says which they are.

    A relation whose schema is not known, and of which there are two, may be somebody else's.
    """
    of_name: dict[ObjectName, set[str]] = {}
    for one in found:
        of_name.setdefault(one.name, set()).add(one.identity)
    vague = {"relation", "function", "type", "statistics"}
    return [
        one
        for one in found
        if one.name.schema is not None or one.name.kind not in vague or len(of_name[one.name]) == 1
    ]


def _integers(numbers: Iterable[int]) -> str:
    return "ARRAY[" + ", ".join(map(str, numbers)) + "]::pg_catalog.int4[]"
