"""Random psql scripts that mostly run: DDL, DML, views, functions, triggers, settings, blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

STATEMENTS_MIN = 6
STATEMENTS_MAX = 26
SCHEMAS = ("public", "s", "Odd one")


@dataclass
class Table:
    """A table's name as it is written, and whether it has rows of its own to change."""

    name: str
    key: bool = False
    temporary: bool = False
    serial: bool = False


@dataclass
class ScriptMaker:
    """Writes one script; what exists at each point is known, so that most statements succeed."""

    random: Random
    tables: list[Table] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    schemas: set[str] = field(default_factory=lambda: {"public"})
    count: int = 0

    def script(self) -> str:
        """The whole text."""
        lines = [self.table()]
        count = self.random.randint(STATEMENTS_MIN, STATEMENTS_MAX)
        lines += (self.statement() for _ in range(count))
        return "\n".join(lines) + "\n"

    def statement(self) -> str:
        kinds = [
            *[self.insert] * 6, *[self.table] * 3, *[self.change] * 3, *[self.query] * 3,
            *[self.view] * 2, self.index, self.alter, self.drop, self.function, self.call,
            self.trigger, self.sequence, self.setting, self.block, self.copy, self.create_as,
            self.rename, self.truncate, self.anonymous, self.analyse, self.comment, self.cells,
        ]  # fmt: skip
        return self.random.choice(kinds)()

    def fresh(self, letter: str) -> str:
        self.count += 1
        name = f"{letter}{self.count}"
        if self.random.random() < 0.1:
            name = f'"{name.upper()} x"'
        if self.random.random() < 0.2:
            schema = self.random.choice([one for one in SCHEMAS if one in self.schemas])
            name = f'"{schema}".{name}' if " " in schema else f"{schema}.{name}"
        return name

    def any_table(self) -> Table:
        return self.random.choice(self.tables) if self.tables else Table("pg_class")

    def source(self) -> str:
        """Something to read: columns a and b."""
        names = [table.name for table in self.tables] + self.views + self.stored
        if not names or self.random.random() < 0.15:
            return f"(SELECT g AS a, 'g' || g AS b FROM generate_series(1, {self.number()}) g) AS q"
        return self.random.choice(names)

    def number(self) -> int:
        return self.random.randint(1, 40)

    def table(self) -> str:
        name = self.fresh("t")
        key, serial = self.random.random() < 0.25, self.random.random() < 0.2
        temporary = self.random.random() < 0.12 and "." not in name
        columns = ["a int" + (" PRIMARY KEY" if key else ""), "b text DEFAULT 'd'"]
        if serial:
            columns.append(self.random.choice(["c serial", "c int GENERATED ALWAYS AS IDENTITY"]))
        keys = [one for one in self.tables if one.key and not one.temporary and not temporary]
        if keys and self.random.random() < 0.3:
            action = self.random.choice(["", " ON DELETE CASCADE"])
            columns.append(f"r int REFERENCES {self.random.choice(keys).name}{action}")
        self.tables.append(Table(name, key, temporary, serial))
        kind = "TEMP TABLE" if temporary else "TABLE"
        return f"CREATE {kind} {name} ({', '.join(columns)});"

    def insert(self) -> str:
        table = self.any_table()
        if table.key:
            taken = f"WHERE NOT EXISTS (SELECT 1 FROM {table.name} o WHERE o.a = q.a)"
            return (
                f"INSERT INTO {table.name} (a, b) SELECT q.a, min(q.b) FROM "
                f"(SELECT a, b FROM {self.source()}) q {taken} GROUP BY q.a ORDER BY 1;"
            )
        if table.serial or self.random.random() < 0.4:  # a split draws values in another order
            rows = ", ".join(f"({self.number()}, 'v{self.number()}')" for _ in range(3))
            return f"INSERT INTO {table.name} (a, b) VALUES {rows};"
        other = self.source()
        limit = f"WHERE a < {self.number()}"
        return f"INSERT INTO {table.name} (a, b) SELECT a + 1, b FROM {other} {limit};"

    def change(self) -> str:
        table = self.any_table()
        if self.random.random() < 0.4:
            return f"DELETE FROM {table.name} WHERE a % {1 + self.number()} = 0;"
        if self.random.random() < 0.3:
            return (
                f"UPDATE {table.name} SET b = b || q.n FROM "
                f"(SELECT count(*) AS n FROM {self.source()}) AS q WHERE a < {self.number()};"
            )
        return f"UPDATE {table.name} SET b = b || 'u' WHERE a < {self.number()};"

    def query(self) -> str:
        said = f"\\echo {self.number()}\n" if self.random.random() < 0.3 else ""
        return (
            f"{said}SELECT count(*), sum(a), min(b) FROM {self.source()} "
            f"WHERE a <> {self.number()};"
        )

    def view(self) -> str:
        body = f"SELECT a, b FROM {self.source()} WHERE a < {10 * self.number()}"
        temporary = any(table.temporary and table.name in body for table in self.tables)
        if self.random.random() < 0.3 and not temporary:
            if self.stored and self.random.random() < 0.5:
                return f"REFRESH MATERIALIZED VIEW {self.random.choice(self.stored)};"
            name = self.fresh("m")
            self.stored.append(name)
            return f"CREATE MATERIALIZED VIEW {name} AS {body};"
        name = self.fresh("v")
        if temporary:
            name = name.rpartition(".")[2]
        self.views.append(name)
        return f"CREATE VIEW {name} AS {body};"

    def index(self) -> str:
        return f"CREATE INDEX ON {self.any_table().name} ({self.random.choice(['a', 'lower(b)'])});"

    def alter(self) -> str:
        self.count += 1
        default = self.random.choice(["", f" DEFAULT {self.number()}", " DEFAULT now() - now()"])
        kind = "interval" if "now" in default else "int"
        return f"ALTER TABLE {self.any_table().name} ADD COLUMN x{self.count} {kind}{default};"

    def drop(self) -> str:
        if self.views and self.random.random() < 0.6:
            return f"DROP VIEW IF EXISTS {self.views.pop()} CASCADE;"
        table = self.any_table()
        if len(self.tables) > 2:
            self.tables.remove(table)
            self.views.clear()
            self.stored.clear()
        return f"DROP TABLE {table.name} CASCADE;\nCREATE TABLE {table.name} (a int, b text);"

    def truncate(self) -> str:
        return f"TRUNCATE {self.any_table().name} CASCADE;"

    def rename(self) -> str:
        table = self.any_table()
        old, new = table.name, self.fresh("n").rpartition(".")[2]
        schema = old.rpartition(".")[0]
        table.name = f"{schema}.{new}" if schema else new
        return f"ALTER TABLE {old} RENAME TO {new};"

    def create_as(self) -> str:
        name = self.fresh("t")
        source = self.source()
        self.tables.append(Table(name))
        return f"CREATE TABLE {name} AS SELECT a, b FROM {source} WHERE a > {self.number() // 4};"

    def function(self) -> str:
        name, table = self.fresh("f"), self.any_table()
        if self.random.random() < 0.5:
            self.readers.append(name)
            return (
                f"CREATE FUNCTION {name}() RETURNS bigint LANGUAGE sql AS "
                f"$$ SELECT count(*) FROM {table.name} $$;"
            )
        self.writers.append(name)
        column = "a" if not table.key else "b"
        return (
            f"CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN "
            f"UPDATE {table.name} SET {column} = {column}; "
            f"DELETE FROM {table.name} WHERE a = {self.number()}; END $$;"
        )

    def call(self) -> str:
        if not self.readers and not self.writers:
            return self.query()
        return f"SELECT {self.random.choice(self.readers + self.writers)}();"

    def trigger(self) -> str:
        table, other = self.any_table(), self.any_table()
        if table.temporary or other.temporary or other.key or other is table:
            return self.query()
        name = self.fresh("g").replace('"', "").rpartition(".")[2].replace(" ", "_")
        return (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"INSERT INTO {other.name} (a, b) SELECT count(*), 'g' FROM {self.any_table().name}; "
            f"RETURN NULL; END $$;\nCREATE TRIGGER {name} AFTER INSERT ON {table.name} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}();"
        )

    def sequence(self) -> str:
        if self.sequences and self.random.random() < 0.7:
            name = self.random.choice(self.sequences)
            table = self.any_table()
            if table.key or self.random.random() < 0.4:
                return f"SELECT nextval('{name}');"
            return f"INSERT INTO {table.name} (a) VALUES (nextval('{name}'));"
        name = self.fresh("q").replace('"', "").replace(" ", "_").lower()
        if "." in name:
            name = name.rpartition(".")[2]
        self.sequences.append(name := f"public.{name}")
        return f"CREATE SEQUENCE {name};"

    def setting(self) -> str:
        missing = [name for name in SCHEMAS if name not in self.schemas]
        if missing and self.random.random() < 0.6:
            self.schemas.add(missing[0])
            return f'CREATE SCHEMA "{missing[0]}";'
        return self.random.choice(
            ["SET DateStyle = 'ISO, DMY';", "SET TimeZone = 'Asia/Tokyo';", "SET work_mem = '1MB';"]
        )

    def block(self) -> str:
        tables, views = list(self.tables), list(self.views)
        inside = [
            self.random.choice([self.insert, self.change, self.query, self.table, self.index])()
            for _ in range(self.random.randint(1, 4))
        ]
        end = "COMMIT"
        if self.random.random() < 0.3:
            end, self.tables, self.views = "ROLLBACK", tables, views
        return "BEGIN;\n" + "\n".join(inside) + f"\n{end};"

    def copy(self) -> str:
        table = self.any_table()
        if table.key:
            return self.query()
        rows = "".join(f"{self.number()}\tc;{self.number()}\n" for _ in range(3))
        return f"COPY {table.name} (a, b) FROM stdin;\n{rows}\\."

    def cells(self) -> str:
        table = self.any_table()
        if not table.key and self.random.random() < 0.4:
            text = f"INSERT INTO {table.name} (a) VALUES (%s)".replace("'", "''")
            rows = f"(SELECT DISTINCT a FROM {self.source()}) q ORDER BY 1 LIMIT 4"
            return f"SELECT format('{text}', q.a) FROM {rows} \\gexec"
        makers = [self.insert, self.change, self.table, self.index, self.view, self.setting]
        count = self.random.randint(1, 5)
        made = ", ".join(f"$cell${self.random.choice(makers)()}$cell$" for _ in range(count))
        return f"SELECT {made} \\gexec"

    def anonymous(self) -> str:
        table = self.any_table()
        if self.random.random() < 0.5:
            return (
                f"DO $$ BEGIN UPDATE {table.name} SET b = 'do' WHERE a = {self.number()}; END $$;"
            )
        return (
            f"DO $$ BEGIN EXECUTE 'DELETE FROM ' || $x${table.name}$x$ || ' WHERE a = "
            f"{self.number()}'; END $$;"
        )

    def analyse(self) -> str:
        return f"ANALYZE {self.any_table().name};"

    def comment(self) -> str:
        return f"COMMENT ON TABLE {self.any_table().name} IS 'number {self.number()}';"
