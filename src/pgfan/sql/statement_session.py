"""What a statement changes or finds in its session, and what no other connection has.

SET is carried along with every later statement, so it pins nothing; temporary objects, prepared
statements, cursors, LISTEN and DISCARD do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.collector import Collector, constant_text
from pgfan.sql.names import with_user
from pgfan.sql.queries import code_of, collect, collect_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.sql.tree import Message

_TWO_PHASE = frozenset(
    {pb.TRANS_STMT_PREPARE, pb.TRANS_STMT_COMMIT_PREPARED, pb.TRANS_STMT_ROLLBACK_PREPARED}
)


def _set(collector: Collector, tree: Message) -> None:
    """search_path decides what names mean; "schema" is another spelling of it."""
    name = tree.name.lower()
    session = collector.session
    if tree.kind == pb.VAR_RESET_ALL:
        collector.set_path(session.first_path, is_local=False)
    elif name == "seed":
        session.is_seeded = True
        collector.session_uses.add("seed")
    elif name == "search_path":
        entries = [constant_text(entry) for entry in tree.args]
        known = [entry for entry in entries if entry is not None]
        is_value = tree.kind == pb.VAR_SET_VALUE
        path = with_user(known, session.user) if is_value else session.first_path
        collector.set_path(path if len(known) == len(entries) else None, is_local=tree.is_local)
    elif name == "session_replication_role":
        collector.block("setting", "session_replication_role decides which triggers run")


def _show(collector: Collector, _tree: Message) -> None:
    collector.asks_setting()


def _reads_nothing(_collector: Collector, _tree: Message) -> None:
    """CHECKPOINT, SET CONSTRAINTS: nothing that another statement changes."""


def _transaction(collector: Collector, tree: Message) -> None:
    if tree.kind in _TWO_PHASE:
        collector.block("outside", "a prepared transaction outlives its session")
    elif tree.kind == pb.TRANS_STMT_ROLLBACK_TO:
        collector.set_path(None, is_local=True)  # a SET may have been undone


def _prepare(collector: Collector, tree: Message) -> None:
    collector.session_uses.add("prepared")
    code_of(collector, tree.query)
    collector.session.prepared[tree.name] = tree.query


def _execute(collector: Collector, tree: Message) -> None:
    collector.session_uses.add("prepared")
    collect_all(collector, tree.params)
    query = collector.session.prepared.get(tree.name)
    if query is None:
        collector.block("statement-unknown", f"{tree.name} was not prepared by the script")
    else:
        collect(collector, query)


def _deallocate(collector: Collector, tree: Message) -> None:
    collector.session_uses.add("prepared")
    if tree.isall:
        collector.session.prepared.clear()
    else:
        collector.session.prepared.pop(tree.name, None)


def _declare(collector: Collector, tree: Message) -> None:
    collector.session_uses.add("cursor")
    collect(collector, tree.query)


def _cursor(collector: Collector, _tree: Message) -> None:
    collector.session_uses.add("cursor")


def _listen(collector: Collector, _tree: Message) -> None:
    collector.session_uses.add("notification")


def _notify(collector: Collector, tree: Message) -> None:
    collector.named("modify", "channel", tree.conditionname)


def _discard(collector: Collector, tree: Message) -> None:
    collector.session_uses.add("setting")
    if tree.target in {pb.DISCARD_ALL, pb.DISCARD_TEMP}:
        collector.block("setting", "DISCARD drops what the session has made")
    if tree.target == pb.DISCARD_ALL:
        collector.session.prepared.clear()
        collector.set_path(collector.session.first_path, is_local=False)


def _call(collector: Collector, tree: Message) -> None:
    collect(collector, tree.funccall)


SESSION_RULES: dict[str, Callable[[Collector, Message], None]] = {
    "VariableSetStmt": _set,
    "VariableShowStmt": _show,
    "TransactionStmt": _transaction,
    "ConstraintsSetStmt": _reads_nothing,
    "CheckPointStmt": _reads_nothing,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _cursor,
    "ClosePortalStmt": _cursor,
    "ListenStmt": _listen,
    "UnlistenStmt": _listen,
    "NotifyStmt": _notify,
    "DiscardStmt": _discard,
    "CallStmt": _call,
}
