"""`--publish SCHEMA`: a script is built in a side schema, which takes SCHEMA's name at the end.

The side schema stands where SCHEMA stands in the session's search_path, so names without a schema
mean it. The swap is two renames in the transaction that ends the run: others see the old tables or
the new ones, whole, and a crash leaves a build that is gone on with or one that is published.

Views and foreign keys are bound to tables, not to names: what other schemas made on the old tables
stays on them. So the old schema is kept under another name, or dropped only when nothing outside
of it depends on it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfan.errors import UsageError
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.journal_schema import rows_of_query
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfan.ports import Session
    from pgfan.sql.effects import Accesses
    from pgfan.sql.script import ScriptItem

_MARK = "pgfan is building here what will be schema "
"""What the comment of a side schema begins with: no other schema is taken for one."""
_NAME_BYTES_MAX = 63
_DEPENDENTS_SHOWN = 5
_DEPENDENTS = """
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
FROM pg_catalog.pg_class old
JOIN pg_catalog.pg_depend o ON o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND o.refobjid = old.oid
LEFT JOIN pg_catalog.pg_rewrite r ON o.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND r.oid = o.objid
LEFT JOIN pg_catalog.pg_constraint c ON o.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    AND c.oid = o.objid
JOIN pg_catalog.pg_class by ON by.oid = COALESCE(r.ev_class, c.conrelid)
CROSS JOIN LATERAL (VALUES ('pg_catalog.pg_class'::pg_catalog.regclass, by.oid)) d (classid, objid)
WHERE old.relnamespace = {schema} AND by.relnamespace <> {schema}
ORDER BY 1"""


class Publication(Struct, frozen=True):
    """One schema to publish. `dsn` connects with the side schema in its place."""

    schema: str
    dsn: str
    drop_old: bool

    @property
    def side(self) -> str:
        """The schema in which is built."""
        return f"{self.schema}_building"

    def prepare(self, session: Session, *, resumed: bool) -> None:
        """Make the side schema; what an abandoned build left in it goes, unless it is `resumed`.

        Raises UsageError when a schema of that name is somebody else's.
        """
        comment = _comment(session, self.side)
        if comment is None:
            if resumed:
                raise UsageError(
                    f'schema "{self.side}", in which the unfinished run was building, is gone',
                    hint="--restart builds anew",
                )
            session.execute(f"BEGIN; CREATE SCHEMA {identifier(self.side)}; {self._mark()}; COMMIT")
            return
        if not comment.startswith(_MARK):
            raise UsageError(
                f'schema "{self.side}" exists, and pgfan has not made it',
                hint="--publish builds in a schema of that name: rename or drop yours",
            )
        if not resumed:
            session.execute(
                f"BEGIN; DROP SCHEMA {identifier(self.side)} CASCADE; "
                f"CREATE SCHEMA {identifier(self.side)}; {self._mark()}; COMMIT"
            )

    def check(self, items: Sequence[ScriptItem], accesses: Iterable[Accesses]) -> None:
        """Raise UsageError for a statement that names the schema to be replaced, or the path.

        With its name a statement means the old tables, or writes into what is about to go.
        """
        for item, found in zip(items, accesses, strict=False):
            named = next((e for e in found.effects if e.object.schema == self.schema), None)
            if named is not None:
                raise UsageError(
                    f"{named.object} is in the schema that --publish replaces",
                    position=item.first.position,
                    hint=f"leave out {self.schema}: names without a schema are built beside it",
                )
            if any("search_path" in text.lower() for text in item.settings):
                raise UsageError(
                    "a script for --publish may not set search_path",
                    position=item.first.position,
                    hint="the schema that is built is the first in it already",
                )

    def swap(self, session: Session) -> str:
        """The statements that publish, for a transaction; empty when that has happened.

        Raises UsageError when the old schema is to be dropped and something depends on it.
        """
        if _comment(session, self.side) is None:
            return ""
        schema, side = identifier(self.schema), identifier(self.side)
        unmark = f"COMMENT ON SCHEMA {schema} IS NULL"
        found = rows_of_query(
            session,
            "SELECT n.oid, pg_catalog.to_char(pg_catalog.now(), 'YYYYMMDD_HH24MISS') "
            f"FROM pg_catalog.pg_namespace n WHERE n.nspname = {literal(self.schema)}",
        )
        if not found:
            return f"ALTER SCHEMA {side} RENAME TO {schema}; {unmark}"
        oid, now = found[0]
        old = f"{self.schema}_until_{now}"
        steps = [*self._grants(session, str(oid))]
        steps += [f"ALTER SCHEMA {schema} RENAME TO {identifier(old)}"]
        steps += [f"ALTER SCHEMA {side} RENAME TO {schema}", unmark]
        if self.drop_old:
            self._refuse_dependents(session, str(oid))
            steps.append(f"DROP SCHEMA {identifier(old)} CASCADE")
        return "; ".join(steps)

    def _mark(self) -> str:
        return f"COMMENT ON SCHEMA {identifier(self.side)} IS {literal(_MARK + self.schema)}"

    def _grants(self, session: Session, oid: str) -> Iterable[str]:
        """Who may use the old schema may use the new one."""
        rows = rows_of_query(
            session,
            "SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' "
            "ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, "
            "CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END "
            "FROM pg_catalog.pg_namespace n CROSS JOIN pg_catalog.aclexplode(n.nspacl) a "
            f"WHERE n.oid = {oid} AND a.grantee <> n.nspowner",
        )
        for privilege, grantee, option in rows:
            yield f"GRANT {privilege} ON SCHEMA {identifier(self.side)} TO {grantee}{option}"

    def _refuse_dependents(self, session: Session, oid: str) -> None:
        found = [str(row[0]) for row in rows_of_query(session, _DEPENDENTS.format(schema=oid))]
        if found:
            more = f" and {len(found) - _DEPENDENTS_SHOWN} more" * (len(found) > _DEPENDENTS_SHOWN)
            shown = ", ".join(found[:_DEPENDENTS_SHOWN])
            raise UsageError(
                f'the old schema "{self.schema}" is not dropped: {shown}{more} depend on it',
                hint="all is built; without --drop-old the same command publishes it",
            )


def publication(dsn: str, schema: str, *, drop_old: bool) -> Publication:
    """What is asked for, on a server; connects to read the session's search_path.

    Raises UsageError for a schema that cannot be replaced.
    """
    if schema.startswith("pg_") or schema == "information_schema":
        raise UsageError(f'--publish "{schema}": that schema is the server\'s own')
    if len(f"{schema}_until_20000101_000000".encode()) > _NAME_BYTES_MAX:
        raise UsageError(f'--publish "{schema}": the name is too long', hint="at most 41 bytes")
    session = PostgresSession(complete_dsn(dsn))
    try:
        path = rows_of_query(
            session,
            "SELECT part FROM pg_catalog.unnest(pg_catalog.string_to_array("
            "pg_catalog.current_setting('search_path'), ',')) part",
        )
    finally:
        session.close()
    parts = [str(row[0]).strip() for row in path]
    mine = {schema, identifier(schema)}
    side = identifier(f"{schema}_building")
    with_side = [side, *(part for part in parts if part and part not in mine)]
    search_path = ", ".join(with_side)
    given = conninfo_to_dict(dsn).get("options") or os.environ.get("PGOPTIONS", "")
    setting = search_path.replace("\\", "\\\\").replace(" ", "\\ ")
    options = f"{given} -c search_path={setting}".strip()
    return Publication(schema, make_conninfo(dsn, options=options), drop_old)


def _comment(session: Session, schema: str) -> str | None:
    """The comment of a schema, empty without one; None when there is no such schema."""
    rows = rows_of_query(
        session,
        "SELECT COALESCE(pg_catalog.obj_description(oid, 'pg_namespace'), '') "
        f"FROM pg_catalog.pg_namespace WHERE nspname = {literal(schema)}",
    )
    return str(rows[0][0]) if rows else None
