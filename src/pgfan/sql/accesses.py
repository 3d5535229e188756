"""What every statement of a script touches, in program order.

`ScriptAccesses` reads one statement or block after another. It keeps what the script itself has
made so far (`pgfan.sql.definitions`), starting from what is known of the database, so that reading
a view reads its tables and writing a table calls its triggers' functions.

A node type that nobody thought of is a barrier, never ignored. docs/order.md has the rules in
plain words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.closure import Closure
from pgfan.sql.collector import Collector, Session
from pgfan.sql.definitions import TEMPORARY, Definitions
from pgfan.sql.effects import ANY_FILE, NOTHING, Accesses, Barrier, Effect, annotated, file_effects
from pgfan.sql.known_definitions import definitions_of
from pgfan.sql.names import with_user
from pgfan.sql.settings import only_sets_constants
from pgfan.sql.statements import DEFINES_NOTHING, collect_statement
from pgfan.sql.tree import Message, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.definitions import Path
    from pgfan.sql.effects import SessionUse, Stated
    from pgfan.sql.known import KnownObjects
    from pgfan.sql.script import ScriptItem

GENERATES = Accesses(
    barrier=Barrier("dynamic-sql", "its rows are statements, known when it has run", opaque=False)
)
"""Of a query that makes statements, as long as nobody knows which."""
MAKES_INSIDE = Accesses(
    barrier=Barrier("dynamic-sql", "\\gexec in a block: its statements are made while it runs")
)
"""Of a block that runs such statements itself."""


_CHANGES_ROWS = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt"})
"""Without a barrier they change neither definitions nor the session."""


class ScriptAccesses:
    """The accesses of one session's statements: psql would have run them on one connection.

    After an opaque task (`Accesses.is_opaque`) definitions may be others. Until `refresh` every
    further task is a barrier of code "not-refreshed": sound, and serial.
    """

    def __init__(
        self, known: KnownObjects, *, calls_currval: bool = False, of_set: bool = False
    ) -> None:
        """Start from what exists; `of_set` is as for `Closure`.

        `calls_currval`: the script may call currval() or lastval() somewhere (`mentions_currval`),
        so that those who draw from sequences share a connection.
        """
        self._of_set = of_set
        path = with_user(list(known.search_path), known.user)
        self._session = Session(path, path, known.user, path, calls_currval)
        self._session.paths_seen.update(path)
        self._waits_for: Barrier | None = None
        self._of_forms: dict[tuple[str, Path, int], Accesses] = {}
        """What statements of a form touch (`pgfan.sql.forms`), by search_path and the definitions'
        version, as long as nothing came in between that could change what names mean."""
        self._definitions = Definitions()
        self._take(known)

    def _take(self, known: KnownObjects) -> None:
        self._use(definitions_of(known))
        texts = [function.definition for function in known.functions]
        for relation in known.relations:
            texts += [relation.definition, *relation.expressions]
            texts += [column.default for column in relation.columns]
        self._session.calls_currval |= any(map(mentions_currval, texts))

    def new_session(self) -> None:
        """The next task is the first of another session.

        Its settings are those of the start, and it sees no temporary objects. All else stays.
        """
        before = self._session
        path = before.first_path
        self._session = Session(path, path, before.user, path, before.calls_currval)
        self._session.paths_seen = before.paths_seen
        self._session.builtins_used = before.builtins_used
        for name in tuple(self._definitions.temporary):
            self._definitions.remove(name)
        self._use(self._definitions)

    def start_again(self, *, apart: bool) -> None:
        """Of a copy: be another session, at its start, to which all is known that was made.

        `apart`: what it makes and drops is known to it alone, not to what it is a copy of.
        """
        if apart:
            self._definitions = self._definitions.copy()
        self._waits_for = None
        self.new_session()
        self._session.paths_seen = set(self._session.first_path or ())
        self._session.builtins_used = set()

    def read(
        self,
        statements: Sequence[Message],
        *,
        rolls_back: bool = False,
        stated: Stated | None = None,
        form: str | None = None,
        makes_inside: bool = False,
    ) -> Accesses:
        """The accesses of the next task: a statement's tree, or all those of a transaction block.

        `rolls_back`: the block ends in ROLLBACK, so that its definitions are gone after it.
        `stated`: what directives say of it, None for nothing. `form`: that of the one statement.
        `makes_inside`: see `ScriptItem`; whatever is stated, it may have changed anything.
        """
        if form is None or stated is not None:
            if any(kind_of(tree) not in _CHANGES_ROWS for tree in statements):
                self._of_forms.clear()
            return self._read(
                statements, rolls_back=rolls_back, stated=stated, makes_inside=makes_inside
            )
        definitions = self._definitions
        if self._waits_for is not None or definitions.until_commit:
            return self._read(statements)
        under = (form, self._session.path, definitions.version)
        found = self._of_forms.get(under)
        if found is None:
            found = self._read(statements)
            if found.barrier is None and definitions.version == under[2]:
                self._of_forms[under] = found
        return found

    def _read(
        self,
        statements: Sequence[Message],
        *,
        rolls_back: bool = False,
        stated: Stated | None = None,
        makes_inside: bool = False,
    ) -> Accesses:
        path = self._session.lasting_path
        undone = rolls_back or any(map(_rolls_back_to, statements))
        defines = undone and any(kind_of(tree) not in DEFINES_NOTHING for tree in statements)
        before = self._definitions.copy() if rolls_back and defines else None
        found = self._statement(statements[0]) if statements else NOTHING
        for tree in statements[1:]:
            found |= self._statement(tree)
        if stated is not None:
            found = self._with_stated(found, stated)
        if makes_inside:
            found |= MAKES_INSIDE
        if defines and not rolls_back:
            found |= Accesses(barrier=Barrier("catalogue", "definitions are undone by ROLLBACK TO"))
        if rolls_back:
            self._session.lasting_path = path
        elif undone and self._session.lasting_path != path:
            self._session.lasting_path = None
        self._session.path = self._session.lasting_path
        if before is not None:
            self._use(before)
        self._commit()
        if self._session.has_own_settings:
            found |= Accesses(session=frozenset({"setting"}))
        self._session.may_have_own_settings |= found.is_opaque
        if self._waits_for is not None:
            why = f"definitions may have changed: {self._waits_for.message}"
            session: frozenset[SessionUse] = found.session | {"temporary"}
            return Accesses(found.effects, Barrier("not-refreshed", why, opaque=False), session)
        if found.is_opaque:
            self._waits_for = found.barrier
        return found

    def refresh(self, known: KnownObjects) -> None:
        """Go on with what exists now: everything before has finished, nothing after has begun.

        search_path, prepared statements and temporary relations of the session are kept.
        """
        temporary = [
            relation
            for relation in self._definitions.relations.values()
            if relation.name.schema == TEMPORARY
        ]
        self._waits_for = None
        self._take(known)
        for relation in temporary:
            self._definitions.put(relation)

    def keep_to_session(self) -> None:
        """Have the rest of the session on its connection: it has settings that no other has."""
        self._session.has_own_settings = True

    def go_on(self) -> None:
        """Go on as though an opaque task had changed no definition: for what is shown, not run."""
        self._waits_for = None

    @property
    def definitions(self) -> Definitions:
        """What exists after the tasks that were read; not to be changed."""
        return self._definitions

    @property
    def has_own_settings(self) -> bool:
        """Whether a task of this session has made settings that no text of the script has."""
        return self._session.has_own_settings

    def _use(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._of_forms = {}  # its own: a copy of this object has had the same one until now
        self._closure = Closure(definitions, self._session, of_set=self._of_set)

    def _statement(self, tree: Message) -> Accesses:
        definitions = self._definitions
        repeated = kind_of(tree) == "SelectStmt" and only_sets_constants(tree)
        collector = Collector(definitions, self._session, self._session.path, may_set=repeated)
        collect_statement(collector, tree)
        for cast in definitions.casts:
            collector.touch("read", cast)
        if definitions.event_triggers and kind_of(tree) not in DEFINES_NOTHING:
            for function in definitions.event_triggers:
                collector.touch("read", function)
        found = self._closure.of(collector.accesses, collector.path)
        if self._session.calls_currval and any(map(self._draws, found.effects)):
            found |= Accesses(session=frozenset({"sequence-value"}))
        for change in collector.changes:
            change()
        return found

    def _with_stated(self, found: Accesses, stated: Stated) -> Accesses:
        collector = Collector(self._definitions, self._session, self._session.path)
        for name in (*stated.reads, *stated.after):
            collector.relation("read", name)
        for name in stated.writes:
            collector.relation("modify", name)
        said = self._closure.of(Accesses(frozenset(collector.effects)), collector.path)
        if stated.reads or stated.writes:
            found = annotated(found, (), ())
        return Accesses(
            found.effects | said.effects | stated.effects,
            found.barrier,
            found.session | said.session | collector.session_uses,
        )

    def _draws(self, effect: Effect) -> bool:
        relation = self._definitions.relations.get(effect.object)
        return effect.kind == "modify" and (relation is None or relation.kind == "sequence")

    def _commit(self) -> None:
        """Temporary tables that are dropped at COMMIT."""
        for name in tuple(self._definitions.until_commit):
            self._definitions.remove(name)
        self._definitions.until_commit.clear()


def accesses_of(items: Sequence[ScriptItem], known: KnownObjects) -> tuple[Accesses, ...]:
    """What each item of a script touches, read in order before anything has run.

    A run looks at the database again after a task that may have changed any definition. Here what
    stands after such a task is read with what is known now; that it waits for the task is certain.
    """
    currval = any(mentions_currval(one.text) for item in items for one in item.statements)
    script = ScriptAccesses(known, calls_currval=currval)
    found: list[Accesses] = []
    session = items[0].session if items else ""
    for item in items:
        if item.session != session:
            session = item.session
            script.new_session()
        trees = [statement.skeleton for statement in item.statements]
        stated = item.directives.stated if item.directives is not None else None
        form = item.form
        accesses = script.read(
            trees,
            rolls_back=item.rolls_back,
            stated=stated,
            form=form,
            makes_inside=item.makes_inside,
        )
        accesses |= client_files(item)
        if item.first.generates is not None:
            accesses |= GENERATES
        found.append(accesses)
        script.go_on()
    return tuple(found)


def client_files(item: ScriptItem) -> Accesses:
    r"""Files that \copy reads and writes."""
    effects: set[Effect] = set()
    for statement in item.statements:
        if statement.client_file is not None:
            written = statement.writes_client_file
            effects |= file_effects(statement.client_file, is_written=written)
            if not written and any(directive.is_load for directive in statement.directives):
                effects.add(Effect("read", ANY_FILE))  # a pattern or a folder has many names
    return Accesses(frozenset(effects)) if effects else NOTHING


def _rolls_back_to(tree: Message) -> bool:
    return kind_of(tree) == "TransactionStmt" and bool(tree.kind == pb.TRANS_STMT_ROLLBACK_TO)


def mentions_currval(text: str) -> bool:
    """Whether SQL text has the words currval or lastval anywhere."""
    lower = text.lower()
    return "currval" in lower or "lastval" in lower
