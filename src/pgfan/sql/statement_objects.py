"""Functions, types, schemas, roles, and the rest of what has a name and is not a relation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.bodies import UNREADABLE, Body, body_of
from pgfan.sql.collector import Collector
from pgfan.sql.columns import type_uses
from pgfan.sql.definitions import Function, TypeDefinition
from pgfan.sql.effects import AS_OWNER, NOTHING, OTHERS_RIGHTS, Accesses, Effect, ObjectName
from pgfan.sql.names import home
from pgfan.sql.queries import code_of
from pgfan.sql.signatures import signature
from pgfan.sql.statement_drops import touch_in_schema, touch_object, touch_type
from pgfan.sql.tree import Message, deparse_statement, inner, kind_of, names, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.sql.effects import EffectKind, ObjectKind
    from pgfan.sql.facts import Name


def _made(collector: Collector, kind: ObjectKind, name: Name) -> ObjectName:
    """The object that a statement makes. What was PostgreSQL's own may mean it afterwards."""
    made = home(collector.definitions, collector.path, kind, name)
    collector.touch("define", made)
    if made.schema is not None:
        collector.named("use", "schema", made.schema)
    if made.name in collector.session.builtins_used:
        what = f"{made.name} was PostgreSQL's own before"
        collector.block("name-hidden", what, opaque=False)
    return made


def _function(collector: Collector, tree: Message) -> None:
    name = _made(collector, "function", names(tree.funcname))
    types = [inner(parameter).arg_type for parameter in tree.parameters]
    runs = code_of(collector, *types, tree.return_type)
    definition = deparse_statement(wrap("create_function_stmt", tree))
    options = {inner(option).defname: inner(inner(option).arg) for option in tree.options}
    language = options["language"].sval.lower() if "language" in options else "sql"
    volatility = options["volatility"].sval[:1] if "volatility" in options else "v"
    parts = [inner(parameter).defexpr for parameter in tree.parameters]
    code = [code_of(collector, part) for part in parts if part.WhichOneof("node")]
    if "security" in options and options["security"].boolval:
        code.append(AS_OWNER)
    if tree.HasField("sql_body"):
        body = body_of(definition).statements
        code.append(code_of(collector, *body))
        code.append(runs)
        definition = ""
    elif language == "sql":  # its body is looked at when it is made, and runs when it is called
        has_own_settings = collector.session.has_own_settings
        code_of(collector, *body_of(definition).statements)
        collector.session.has_own_settings = has_own_settings
    elif language == "plpgsql":  # and of this one the declarations
        _declares(collector, body_of(definition))
    made = Function(name, definition, signature(collector, tree), language, volatility, tuple(code))
    collector.then(partial(collector.definitions.put_function, made))


def _declares(collector: Collector, body: Body) -> None:
    """The types of variables; what cannot be read may name any."""
    if body.barrier == UNREADABLE:
        collector.block("dynamic-sql", UNREADABLE.message, opaque=False)
    code_of(collector, *body.declared)


def _alter_function(collector: Collector, tree: Message) -> None:
    touch_object(collector, "alter", tree.objtype, tree.func)
    for action in map(inner, tree.actions):
        if action.defname in {"set", "security"}:
            # A search_path of its own, or another role, changes what the names in its body mean.
            what = f"ALTER FUNCTION ... {action.defname.upper()} changes what its body does"
            collector.block("catalogue", what)


def _aggregate(collector: Collector, tree: Message) -> None:
    name = _made(collector, "function", names(tree.defnames))
    called: set[Effect] = set()
    for option in map(inner, tree.definition):
        node = inner(option.arg)
        if kind_of(node) == "TypeName":
            if option.defname.lower().endswith("func"):
                inside = Collector(collector.definitions, collector.session, collector.path)
                inside.function("read", names(node.names))
                called |= inside.effects
            else:
                type_uses(collector, node)
    for effect in called:
        collector.touch("use", effect.object)
    made = Function(name, language="aggregate", code=(Accesses(frozenset(called)),))
    collector.then(partial(collector.definitions.put_function, made))


def _define(collector: Collector, tree: Message) -> None:
    """CREATE AGGREGATE, TYPE, COLLATION; operators and text search change what expressions mean."""
    match tree.kind:
        case pb.OBJECT_AGGREGATE:
            _aggregate(collector, tree)
        case pb.OBJECT_TYPE:
            _new_type(collector, names(tree.defnames), [])
            for option in map(inner, tree.definition):
                if kind_of(option.arg) == "TypeName":
                    collector.function("use", names(inner(option.arg).names))
        case pb.OBJECT_COLLATION:
            _made(collector, "collation", names(tree.defnames))
        case _:
            what = pb.ObjectType.Name(tree.kind)
            collector.block("catalogue", f"{what} changes what expressions mean")


def _new_type(collector: Collector, name: Name, code: Sequence[Accesses]) -> ObjectName:
    made = _made(collector, "type", name)
    runs = tuple(one for one in code if one != NOTHING)
    collector.then(partial(collector.definitions.put_type, TypeDefinition(made, runs)))
    return made


def _enum(collector: Collector, tree: Message) -> None:
    _new_type(collector, names(tree.type_name), [])


def _domain(collector: Collector, tree: Message) -> None:
    runs = [code_of(collector, tree.type_name)]
    runs += [code_of(collector, inner(constraint).raw_expr) for constraint in tree.constraints]
    _new_type(collector, names(tree.domainname), runs)


def _range(collector: Collector, tree: Message) -> None:
    """A range comes with a multirange, and each has a function of its name."""
    code_of(collector, *tree.params)
    made = _new_type(collector, names(tree.type_name), [])
    given = [inner(p).arg for p in tree.params if inner(p).defname == "multirange_type_name"]
    if given:
        multirange = names(inner(given[0]).names)[-1]
    elif "range" in made.name:
        multirange = made.name.replace("range", "multirange", 1)
    else:
        multirange = f"{made.name}_multirange"
    several = ObjectName("type", made.schema, multirange)
    collector.touch("define", several)
    collector.then(partial(collector.definitions.put_type, TypeDefinition(several)))
    for name in (made.name, multirange):
        function = ObjectName("function", made.schema, name)
        collector.touch("define", function)
        constructor = Function(function, language="internal", volatility="i")
        collector.then(partial(collector.definitions.put_function, constructor))


def _alter_enum(collector: Collector, tree: Message) -> None:
    touch_type(collector, "alter", names(tree.type_name))


def _alter_domain(collector: Collector, tree: Message) -> None:
    node = inner(tree.__getattribute__("def"))
    runs = code_of(collector, node)
    for name in touch_type(collector, "alter", names(tree.type_name)):
        before = collector.definitions.types.get(name)
        for relation in collector.definitions.dependents(name):
            collector.touch("read", relation.name)  # rows that are there are checked
        if before is not None and runs != NOTHING:
            changed = TypeDefinition(name, (*before.code, runs))
            collector.then(partial(collector.definitions.put_type, changed))


def _collation(collector: Collector, tree: Message) -> None:
    touch_in_schema(collector, "alter", "collation", names(tree.collname))


def _role(collector: Collector, tree: Message) -> None:
    collector.named("define", "role", tree.role)
    for option in map(inner, tree.options):
        for member in inner(option.arg).items if kind_of(inner(option.arg)) == "List" else ():
            _use_role(collector, member)


def _use_role(collector: Collector, node: Message) -> None:
    role = inner(node)
    if kind_of(role) == "RoleSpec" and role.rolename:
        collector.named("alter", "role", role.rolename)


def _alter_role(collector: Collector, tree: Message) -> None:
    collector.touch("alter", OTHERS_RIGHTS)
    _use_role(collector, tree.role)
    for option in map(inner, tree.options):
        for member in inner(option.arg).items if kind_of(inner(option.arg)) == "List" else ():
            _use_role(collector, member)


def _drop_role(collector: Collector, tree: Message) -> None:
    for role in map(inner, tree.roles):
        collector.named("drop", "role", role.rolename)
    collector.block("every-table", "what a role still owns is not followed", opaque=False)


def _grant_role(collector: Collector, tree: Message) -> None:
    collector.touch("alter", OTHERS_RIGHTS)
    for role in (*map(inner, tree.granted_roles), *map(inner, tree.grantee_roles)):
        name = role.priv_name if kind_of(role) == "AccessPriv" else role.rolename
        if name:
            collector.named("alter", "role", name)


def _tablespace(collector: Collector, tree: Message) -> None:
    kind: EffectKind = "define" if kind_of(tree) == "CreateTableSpaceStmt" else "alter"
    if kind_of(tree) == "DropTableSpaceStmt":
        kind = "drop"
        collector.block("every-table", "what is in a tablespace is not followed", opaque=False)
    collector.named(kind, "tablespace", tree.tablespacename)


def _wrapper(collector: Collector, tree: Message) -> None:
    collector.named("alter", "foreign server", f"wrapper {tree.fdwname}")


def _server(collector: Collector, tree: Message) -> None:
    is_new = kind_of(tree) == "CreateForeignServerStmt"
    collector.named("define" if is_new else "alter", "foreign server", tree.servername)
    if is_new:
        collector.named("use", "foreign server", f"wrapper {tree.fdwname}")
        wrappers = collector.definitions.wrappers
        collector.then(partial(wrappers.__setitem__, tree.servername, tree.fdwname))


def _user_mapping(collector: Collector, tree: Message) -> None:
    collector.named("alter", "foreign server", tree.servername)


def _publication(collector: Collector, tree: Message) -> None:
    """Which tables are published decides which UPDATE and DELETE are allowed."""
    is_new = kind_of(tree) == "CreatePublicationStmt"
    collector.named("define" if is_new else "alter", "publication", tree.pubname)
    if tree.for_all_tables:
        collector.block("every-table", "a publication of all tables", opaque=False)
    for one in map(inner, tree.pubobjects):
        if one.pubobjtype in {pb.PUBLICATIONOBJ_TABLE, pb.PUBLICATIONOBJ_CONTINUATION}:
            collector.relation("alter", relation_name(one.pubtable.relation))
            code_of(collector, one.pubtable.where_clause)
        else:
            collector.block("every-table", "a publication of a schema", opaque=False)


OBJECT_RULES: dict[str, Callable[[Collector, Message], None]] = {
    "CreateFunctionStmt": _function,
    "AlterFunctionStmt": _alter_function,
    "DefineStmt": _define,
    "CreateEnumStmt": _enum,
    "CreateDomainStmt": _domain,
    "CreateRangeStmt": _range,
    "AlterEnumStmt": _alter_enum,
    "AlterTypeStmt": _alter_enum,
    "AlterDomainStmt": _alter_domain,
    "AlterCollationStmt": _collation,
    "CreateRoleStmt": _role,
    "AlterRoleStmt": _alter_role,
    "DropRoleStmt": _drop_role,
    "GrantRoleStmt": _grant_role,
    "CreateTableSpaceStmt": _tablespace,
    "AlterTableSpaceOptionsStmt": _tablespace,
    "DropTableSpaceStmt": _tablespace,
    "CreateFdwStmt": _wrapper,
    "AlterFdwStmt": _wrapper,
    "CreateForeignServerStmt": _server,
    "AlterForeignServerStmt": _server,
    "CreateUserMappingStmt": _user_mapping,
    "AlterUserMappingStmt": _user_mapping,
    "DropUserMappingStmt": _user_mapping,
    "CreatePublicationStmt": _publication,
    "AlterPublicationStmt": _publication,
}
