"""Every kind of statement in PostgreSQL 18's grammar, each with its rule, or a barrier.

`collect_statement` is the one way in. A rule gives what the statement touches to a `Collector`, and
says how the definitions change once it has run (`Collector.then`). A kind without a rule is a
barrier; those of `BARRIERS` are so on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.bodies import body_of
from pgfan.sql.collector import Collector
from pgfan.sql.effects import Accesses
from pgfan.sql.queries import collect
from pgfan.sql.statement_drops import DROP_RULES
from pgfan.sql.statement_objects import OBJECT_RULES
from pgfan.sql.statement_session import SESSION_RULES
from pgfan.sql.statement_tables import TABLE_RULES, select_into
from pgfan.sql.statement_upkeep import UPKEEP_RULES
from pgfan.sql.tree import Message, deparse_statement, inner, kind_of, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})

BARRIERS: dict[str, str] = {
    "AlterDefaultPrivilegesStmt": "it decides the rights of whatever is made later",
    "AlterEventTrigStmt": "event triggers run at every other definition",
    "AlterExtensionContentsStmt": "what belongs to an extension is not followed",
    "AlterExtensionStmt": "an extension may change anything",
    "AlterOpFamilyStmt": "it changes what operators mean to indexes",
    "AlterOperatorStmt": "it changes what an operator means",
    "AlterSubscriptionStmt": "rows arrive from another server",
    "AlterTSConfigurationStmt": "it changes what text search finds",
    "AlterTSDictionaryStmt": "it changes what text search finds",
    "CreateAmStmt": "an access method runs code that is not known",
    "CreateCastStmt": "casts are applied where no syntax shows them",
    "CreateConversionStmt": "it changes how text is converted",
    "CreateEventTrigStmt": "event triggers run at every other definition",
    "CreateExtensionStmt": "an extension makes objects that are not known",
    "CreateOpClassStmt": "it changes what operators mean to indexes",
    "CreateOpFamilyStmt": "it changes what operators mean to indexes",
    "CreatePLangStmt": "a language runs code that is not known",
    "CreateSubscriptionStmt": "rows arrive from another server",
    "CreateTransformStmt": "it changes what functions get",
    "DropOwnedStmt": "what a role owns is not known",
    "DropSubscriptionStmt": "rows arrive from another server",
    "ImportForeignSchemaStmt": "it makes tables that are not known",
    "LoadStmt": "a library may change anything",
    "ReassignOwnedStmt": "what a role owns is not known",
}
"""After these the definitions are read again."""

WIDE: dict[str, str] = {
    "AlterDatabaseRefreshCollStmt": "it concerns the whole database",
    "AlterDatabaseSetStmt": "it concerns the whole database",
    "AlterDatabaseStmt": "it concerns the whole database",
    "AlterRoleSetStmt": "it changes the settings of new connections",
    "AlterSystemStmt": "it concerns the whole server",
    "AlterTableMoveAllStmt": "it moves every table of a tablespace",
    "CreatedbStmt": "the database that is copied must be at rest",
    "DropdbStmt": "it concerns the whole server",
}
"""Keep their place among all others, but change no definition that the analysis follows."""

NEVER_ALONE = frozenset(
    {"PLAssignStmt", "RawStmt", "ReplicaIdentityStmt", "ReturnStmt", "SetOperationStmt"}
)
"""Statements by their name only: they stand inside of others."""

IN_FUNCTIONS = QUERIES | {
    *("CallStmt", "CheckPointStmt", "ClosePortalStmt", "ConstraintsSetStmt", "DeclareCursorStmt"),
    *("ExplainStmt", "FetchStmt", "LockStmt", "NotifyStmt", "RefreshMatViewStmt"),
    *("TransactionStmt", "TruncateStmt", "VacuumStmt", "VariableShowStmt", "CopyStmt"),
}
"""What a function may run and still leave all definitions and settings as they were."""

DEFINES_NOTHING = IN_FUNCTIONS | {
    *("VariableSetStmt", "PrepareStmt", "ExecuteStmt", "DeallocateStmt", "DoStmt", "ListenStmt"),
    "UnlistenStmt",
}
"""Leave the definitions as the analysis knows them (what DO may define, it cannot know)."""


def collect_statement(collector: Collector, tree: Message) -> None:
    """What one statement touches."""
    kind = kind_of(tree)
    rule = RULES.get(kind)
    if kind == "SelectStmt" and tree.HasField("into_clause"):
        rule = select_into
    elif kind in QUERIES:
        rule = collect
    if rule is not None:
        rule(collector, tree)
    elif kind in WIDE:
        collector.block("every-table", WIDE[kind], opaque=False)
    elif kind in BARRIERS:
        collector.block("catalogue", BARRIERS[kind])
    else:
        collector.block("statement-unknown", f"{kind} is not known")


def collect_in_body(collector: Collector, trees: Iterable[Message]) -> None:
    """What the statements of a function's body touch. Those that define anything are a barrier."""
    trees = tuple(trees)
    if any(kind_of(tree) == "VariableSetStmt" and _may_be_path(tree) for tree in trees):
        collector.path = None
    for tree in trees:
        kind = kind_of(tree)
        has_into = kind == "SelectStmt" and tree.HasField("into_clause")
        if kind == "VariableSetStmt":
            if not tree.is_local:
                collector.leaves_setting("a function changes a setting of the session")
        elif kind in IN_FUNCTIONS and not has_into:
            collect_statement(collector, tree)
        elif kind.endswith("Stmt"):
            collector.block("definition-in-function", f"a function runs {kind}")
        else:
            collect(collector, tree)


def _may_be_path(tree: Message) -> bool:
    return tree.name.lower() in {"search_path", "schema", ""}


def _do(collector: Collector, tree: Message) -> None:
    body = body_of(deparse_statement(wrap("do_stmt", tree)))
    if body.barrier is not None:
        collector.add(Accesses(frozenset(), body.barrier))
    collect_in_body(collector, body.statements)


def _explain(collector: Collector, tree: Message) -> None:
    """Without ANALYZE nothing runs, but the plan tells of rows, statistics and indexes."""
    inside = Collector(collector.definitions, collector.session, collector.path)
    collect_statement(inside, inner(tree.query))
    if any(inner(option).defname == "analyze" for option in tree.options):
        collector.add(inside.accesses)
        for change in inside.changes:
            collector.then(change)
        return
    for effect in inside.effects:
        if effect.object.kind in {"relation", "function"}:
            collector.touch("read", effect.object)
    collector.session_uses |= inside.session_uses
    if inside.barrier is not None:
        collector.block("every-table", inside.barrier.message, opaque=False)


def _schema(collector: Collector, tree: Message) -> None:
    name = tree.schemaname or tree.authrole.rolename or collector.session.user
    collector.named("define", "schema", name)
    if tree.authrole.rolename:
        collector.named("use", "role", tree.authrole.rolename)
    definitions = collector.definitions
    if name in collector.session.paths_seen and name not in definitions.schemas:
        what = f"schema {name} was in search_path before it was made: names mean others now"
        collector.block("name-hidden", what, opaque=False)
    path = collector.path
    definitions.schemas.add(name)
    collector.path = None if path is None else (name, *path)
    for element in map(inner, tree.schema_elts):
        collect_statement(collector, element)
        for change in collector.changes:  # the next element may name what this one makes
            change()
        collector.changes.clear()
    collector.path = path


RULES: dict[str, Callable[[Collector, Message], None]] = {
    **TABLE_RULES,
    **DROP_RULES,
    **OBJECT_RULES,
    **UPKEEP_RULES,
    **SESSION_RULES,
    "CreateSchemaStmt": _schema,
    "DoStmt": _do,
    "ExplainStmt": _explain,
}
