"""The table that files are loaded into: what the catalogue says of it, and which column is which.

COPY matches columns by their order alone. A file with a header says its order itself, so names are
matched here, and what does not match is refused before anything is loaded: a column that lands in
the wrong place is found by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, LiteralString

from msgspec import Struct

from pgfan.errors import UsageError
from pgfan.load.infer import widened
from pgfan.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.session import PostgresSession

TABLE: LiteralString = """
SELECT c.oid, n.nspname, c.relname, c.relkind,
    (SELECT pg_catalog.string_agg(DISTINCT l.relpersistence::pg_catalog.text, '')
     FROM pg_catalog.pg_class l WHERE l.relkind = 'r' AND (l.oid = c.oid OR l.oid IN
         (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE c.relkind = 'p'))),
    (SELECT pg_catalog.string_agg(t.tgname, ', ' ORDER BY t.tgname)
     FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
         AND t.tgtype & 4 <> 0 AND (t.tgrelid = c.oid OR t.tgrelid IN
         (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE c.relkind = 'p'))),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k
     WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass({name})"""
COLUMNS: LiteralString = """
SELECT k.attname, k.attgenerated <> '', k.attidentity <> '', k.atthasdef, k.attnotnull,
    COALESCE(b.typname, t.typname)
FROM pg_catalog.pg_attribute k JOIN pg_catalog.pg_type t ON t.oid = k.atttypid
    LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
WHERE k.attrelid = {oid} AND k.attnum > 0 AND NOT k.attisdropped ORDER BY k.attnum"""
BURDENS: LiteralString = """
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = {oid}),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = {oid}
        AND NOT i.indisunique AND NOT i.indisexclusion),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = {oid} AND k.contype = 'f')"""

_SQL_NAMES = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float8": "double precision",
    "bool": "boolean",
}


class LoadColumn(Struct, frozen=True):
    """A column of the target. `fills_itself`: a row without a value for it is complete."""

    name: str
    generated: bool
    fills_itself: bool
    required: bool
    type: str
    """pg_type.typname; of a domain that of what it is over."""


class LoadTarget(Struct, frozen=True):
    """The table. `triggers`: names of those that fire for rows, with commas; empty for none."""

    oid: int
    schema: str
    name: str
    kind: str
    unlogged: bool
    triggers: str
    references_itself: bool
    columns: tuple[LoadColumn, ...]

    @property
    def sql(self) -> str:
        """Its full name, quoted."""
        return qualified((self.schema, self.name))

    def types_of(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The types of columns, in their order; without any, of all that can be written."""
        types = {column.name: column.type for column in self.columns}
        own = columns or [column.name for column in self.columns if not column.generated]
        return tuple(types[name] for name in own)

    def wider(self, column: str, value: str) -> str | None:
        """What to do when a column whose type comes from a sample refuses a value."""
        type_ = next((_SQL_NAMES.get(c.type, c.type) for c in self.columns if c.name == column), "")
        wider = widened(type_, value)
        if type_ in {"text", wider}:
            return None
        return (
            f"{type_} is the type of the values that --create looked at: ALTER TABLE {self.sql} "
            f"ALTER COLUMN {identifier(column)} TYPE {wider}, then run the same command again"
        )

    def is_named(self, field: str) -> bool:
        """Whether a field of a header is the name of a column."""
        return self._find(field) is not None

    def _find(self, field: str) -> LoadColumn | None:
        exact = [column for column in self.columns if column.name == field]
        plain = field.strip().casefold()
        alike = exact or [column for column in self.columns if column.name.casefold() == plain]
        return alike[0] if len(alike) == 1 else None

    def columns_for(
        self, source: str, fields: Sequence[str], missing: Literal["refuse", "default"]
    ) -> tuple[str, ...]:
        """The columns, in the order of `fields`. Raises UsageError for what does not match."""
        found = [self._find(field) for field in fields]
        extra = [field for field, column in zip(fields, found, strict=True) if column is None]
        if extra:
            names = ", ".join(map(repr, extra))
            raise UsageError(
                f"{source} has {names}, and {self.sql} has no such column",
                hint=f"--skip-columns leaves it out; or ALTER TABLE {self.sql} ADD COLUMN; or give "
                "the file's columns other names with --columns, in the file's order",
            )
        columns = [column for column in found if column is not None]
        for column in columns:
            if columns.count(column) > 1:
                raise UsageError(f"{source} has the column {column.name!r} twice")
            if column.generated:
                raise UsageError(
                    f"{source} has {column.name!r}, which {self.sql} generates by itself",
                    hint="take the column out of the file, or drop the expression first",
                )
        self._refuse_missing(source, columns, missing)
        return tuple(column.name for column in columns)

    def _refuse_missing(
        self, source: str, there: Sequence[LoadColumn], missing: Literal["refuse", "default"]
    ) -> None:
        left = [one for one in self.columns if one not in there and not one.fills_itself]
        hard = [one.name for one in left if one.required]
        if hard:
            raise UsageError(
                f"{source} has no {', '.join(map(repr, hard))}: {self.sql} has no rows without",
                hint="give the column a default, or the file a column",
            )
        if left and missing == "refuse":
            names = ", ".join(repr(one.name) for one in left)
            raise UsageError(
                f"{source} has no {names}, which {self.sql} has",
                hint="--missing default leaves such columns NULL",
            )


def read_load_target(session: PostgresSession, name: str) -> LoadTarget:
    """Look a table up by its name, as SQL writes it. Raises UsageError when it cannot be loaded."""
    rows = session.execute(TABLE.replace("{name}", literal(name)))[0].rows
    if not rows:
        raise UsageError(
            f"there is no table {name}",
            hint="CREATE TABLE first; names in upper case need double quotes inside the argument",
        )
    oid, schema, relation, kind, persistence, triggers, own_keys = rows[0]
    if kind not in {"r", "p"}:
        raise UsageError(f"{name} is no table", hint="load into the table behind it")
    kinds = set(persistence or "p")
    if "t" in kinds:
        raise UsageError(f"{name} is temporary: other connections do not see it")
    if len(kinds) > 1:
        raise UsageError(
            f"{name} has logged and unlogged partitions, whose rows a crash treats differently",
            hint="ALTER TABLE ... SET LOGGED or SET UNLOGGED makes them alike",
        )
    columns = tuple(
        LoadColumn(
            name=column or "",
            generated=generated == "t",
            fills_itself="t" in {generated, identity, default},
            required=required == "t",
            type=type_ or "",
        )
        for column, generated, identity, default, required, type_ in session.execute(
            COLUMNS.replace("{oid}", literal(oid))
        )[0].rows
    )
    return LoadTarget(
        oid=int(oid or 0),
        schema=schema or "",
        name=relation or "",
        kind=kind or "",
        unlogged="u" in kinds,
        triggers=triggers or "",
        references_itself=own_keys != "0",
        columns=columns,
    )


def burdens(session: PostgresSession, target: LoadTarget, *, deferred: bool) -> list[str]:
    """What makes each row dearer, in words for the user."""
    row = session.execute(BURDENS.replace("{oid}", str(target.oid)))[0].rows[0]
    indexes, plain, keys = (int(value or 0) for value in row)
    said = []
    if plain and not deferred and target.kind == "r":
        said.append(
            f"{target.sql} has {indexes} indexes, each of which takes its time for every row: "
            "--defer-indexes drops those that are not unique and builds them after the load"
        )
    if keys:
        said.append(
            f"{target.sql} has {keys} foreign keys, which are checked for every row: dropping them "
            "and adding them again after the load costs one join instead"
        )
    return said


def column_list(columns: Sequence[str]) -> str:
    """The column list of a COPY."""
    return f" ({', '.join(map(identifier, columns))})" if columns else ""
