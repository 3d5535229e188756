"""The rules of "may this statement be split", each with breakages that the tests must notice.

A rule that is added to the analysis gets its mutants here: what somebody might forget, or take for
the same. `make mutants` runs the tests against each of them.
"""

from __future__ import annotations

from light_mutants import LIGHT_RULES
from mutation import Mutant
from write_mutants import WRITE_RULES

READ_RULES: dict[str, list[Mutant]] = {
    "the same relation is named more than once": [
        Mutant("WITH read twice is inlined twice", "_queries", "len(found.readers) > 1", "False"),
        Mutant(
            "a name in WITH means the query before it is defined",
            "_opened",
            "every if clause.recursive else scope",
            "every",
        ),
        Mutant("a WITH that stays keeps its name", "inlined", "_rename(...)", "pass"),
        Mutant(
            "what every chunk repeats of WITH is not looked at",
            "_move_into_select",
            "not tree.HasField('with_clause')",
            "True",
        ),
        Mutant(
            "the WITH of an UPDATE is not looked at",
            "_as_insert",
            'tree.HasField("with_clause")',
            "False",
        ),
        Mutant("two items of one name drive", "counted", "aliases[item.alias] == 1", "True"),
    ],
    "the statement reads the relation that it writes": [
        Mutant("an INSERT may read its target", "_objections_to_relations", "reads", "False"),
        Mutant(
            "a partition is not its parent",
            "_objections_to_relations",
            "target.family & relation.family",
            "target.oid == relation.oid",
        ),
        Mutant(
            "an UPDATE that reads its target again needs no snapshot",
            "reads_of",
            "found.remove(relation_name(shape.insert.relation))",
            "found = [one for one in found if one != relation_name(shape.insert.relation)]",
        ),
    ],
    "WHERE, projection, set-returning functions": [
        Mutant(
            "a series beside another set is cut",
            "_is_target_series",
            "len(sets) == len(series) == 1",
            "len(series) == 1",
        ),
        Mutant(
            "a series may have bounds from a column",
            "is_constant_series",
            "all(_is_constant(argument, facts) for argument in call.args)",
            "True",
        ),
        Mutant(
            "WHERE may be volatile where a series stands in the target list",
            "_is_target_series",
            'any(found.place == "where" and functions.is_volatile(found.node, facts) '
            "for found in calls)",
            "False",
        ),
        Mutant("WITH ORDINALITY counts in each chunk", "_is_series", "node.ordinality", "False"),
    ],
    "inner and cross joins": [
        Mutant(
            "a volatile WHERE may filter a joined relation",
            "_named",
            "len(list(from_items(found.select))) > 1",
            "False",
        ),
        Mutant(
            "an alias of a join leaves the names inside",
            "from_items",
            'preserved and (not node.HasField("alias"))',
            "preserved",
        ),
    ],
    "outer joins": [
        Mutant(
            "both sides of LEFT are preserved", "_preserved_sides", "(True, False)", "(True, True)"
        ),
        Mutant(
            "both sides of RIGHT are preserved", "_preserved_sides", "(False, True)", "(True, True)"
        ),
        Mutant("FULL counts as preserved", "_preserved_sides", "(False, False)", "(True, True)"),
        Mutant(
            "the nullable side drives",
            "counted",
            "item.preserved and aliases[item.alias] == 1",
            "aliases[item.alias] == 1",
        ),
        Mutant(
            "ON of an outer join restricts what it equates to another column",
            "matched",
            "own in carried and other[0] in nullable",
            "other[0] in nullable",
        ),
        Mutant("a join inside of the nullable side", "from_items", "reachable and left", "left"),
        Mutant("the nullable side carries the key", "_preserved", "", "return True"),
        Mutant(
            "ON of an outer join equates",
            "_equalities",
            "join.node.jointype == JOIN_INNER",
            "True",
        ),
        Mutant(
            "a name that an outer join merges is the left one's",
            "_unqualified",
            "not self._is_inner",
            "False",
        ),
    ],
    "subqueries outside of FROM": [
        Mutant("volatile where every chunk repeats it", "_named", "not found.is_per_row", "False"),
        Mutant(
            "an aggregate may depend on the order of rows",
            "_aggregate",
            "name in functions.ORDER_FREE_AGGREGATES or context.is_per_row(found.select)",
            "True",
        ),
        Mutant("ARRAY(SELECT) has one order", "_array", "is_array", "False"),
        Mutant(
            "JSON_ARRAY(SELECT) has one order",
            "_objections_to_kind",
            'yield Reason("row-order", ...)',
            "pass",
        ),
        Mutant("DISTINCT ON has one order", "__init__", "_is_distinct_on(place.node)", "False"),
        Mutant(
            "a window in a subquery has one order",
            "_named",
            "found.is_on_path and has_over",
            "has_over",
        ),
        Mutant("an aggregate is its subquery's own", "belongs_to_own_level", "", "return True"),
    ],
    "LATERAL": [
        Mutant("LATERAL drives", "_places", "not item.node.lateral", "True"),
    ],
    "UNION, INTERSECT, EXCEPT": [
        Mutant(
            "a set operation at the top",
            "objections",
            'select.HasField("larg") and (not is_union_all(select))',
            "False",
        ),
    ],
    "UNION ALL": [
        Mutant(
            "UNION is UNION ALL",
            "is_union_all",
            'select.op == pb.SetOperation.Value("SETOP_UNION") and select.all',
            'select.op == pb.SetOperation.Value("SETOP_UNION")',
        ),
        Mutant(
            "EXCEPT ALL is UNION ALL",
            "is_union_all",
            'select.op == pb.SetOperation.Value("SETOP_UNION") and select.all',
            "select.all",
        ),
        Mutant("LIMIT above the branches", "is_union_all", "not limited", "True"),
        Mutant("the other branches are not empty", "make_empty", "", "return"),
        Mutant(
            "an aggregate is empty by its WHERE",
            "make_empty",
            "simple.limit_count.CopyFrom(...)",
            "pass",
        ),
        Mutant(
            "only the first SELECT of a branch is empty",
            "simple_selects",
            "stack.extend((node.rarg, node.larg))",
            "stack.append(node.larg)",
        ),
        Mutant(
            "the other branches run in every chunk",
            "statement",
            "(self.empty[number],)",
            "(self.whole[number],)",
        ),
        Mutant(
            "branches may be grouped together",
            "_judge_unions",
            "any(ungrouped(select, facts) for select in union.selects)",
            "False",
        ),
        Mutant("rows of several branches meet nobody", "_judge_unions", "shape.meets", "False"),
        Mutant(
            "what stands around the branches is not looked at",
            "_judge_unions",
            "list(paths.objections(union.selects))",
            "[]",
        ),
        Mutant(
            "a branch that runs once may call anything",
            "_judge_unions",
            "against += once_objections(branch.select, facts)",
            "pass",
        ),
        Mutant("a call in a branch", "_unplaced_objections", "yield reason", "pass"),
        Mutant("a name in a branch", "_unplaced_objections", "yield from _attribute(...)", "pass"),
        Mutant(
            "an operator in a branch",
            "_unplaced_objections",
            "yield from operator_objections(...)",
            "pass",
        ),
        Mutant(
            "a LIMIT of a branch that every chunk reads",
            "objections",
            "self.shape.unions",
            "False",
        ),
        Mutant(
            "branches are compared with a default that differs",
            "_compares_rows",
            "",
            "return False",
        ),
    ],
    "GROUP BY, DISTINCT and windows": [
        Mutant("ROLLUP has no empty set", "_in_every_set", "node.kind == _SETS", "True"),
        Mutant("a column is not NULL outside of its set", "kept_by_groups", "", "return carried"),
        Mutant(
            "a grouping set may lack the key",
            "_in_every_set",
            "all(_in_every_set(level, inner(entry), carried) for entry in node.content)",
            "any(_in_every_set(level, inner(entry), carried) for entry in node.content)",
        ),
        Mutant(
            "of equal columns in grouping sets all are kept",
            "kept_by_groups",
            "frozenset({column})",
            "carried",
        ),
        Mutant(
            "GROUP BY 2 after a star",
            "_grouped",
            "any(is_star(inner(each.val)) for each in before)",
            "False",
        ),
        Mutant(
            "GROUP BY of any column",
            "_group_is_sound",
            "",
            "return True",
        ),
        Mutant(
            "GROUP BY a name: the output's first",
            "_entry",
            "_grouped(level, node, input_first=True)",
            "_grouped(level, node, input_first=False)",
        ),
        Mutant(
            "DISTINCT ON a name: the input's first",
            "_distinct_is_sound",
            "_grouped(level, node, input_first=False)",
            "_grouped(level, node, input_first=True)",
        ),
        Mutant("GROUP BY 2 is the first column", "_grouped", "targets[number - 1]", "targets[0]"),
        Mutant(
            "DISTINCT of any columns",
            "_distinct_is_sound",
            "any(column in carried for _, column in level.outputs or ())",
            "True",
        ),
        Mutant(
            "DISTINCT ON is DISTINCT",
            "_distinct_is_sound",
            "if expressions:\n    return ...",
            "pass",
        ),
        Mutant(
            "PARTITION BY of any column",
            "_window_is_sound",
            "any(_holds(level, inner(node), carried) for node in window.partition_clause)",
            "len(window.partition_clause) > 0",
        ),
        Mutant(
            "one sound window is enough",
            "grouping_objections",
            "sound &= ...",
            "sound |= _window_is_sound(level, window, window.refname, kept)",
        ),
        Mutant(
            "a window knows nothing of the one that it builds on",
            "_window_is_sound",
            "len(meant) != 1",
            "True",
        ),
        Mutant(
            "a window in ORDER BY is not one",
            "windows_used",
            "(*select.target_list, *select.distinct_clause, *select.sort_clause)",
            "(*select.target_list, *select.distinct_clause)",
        ),
        Mutant(
            "a window in DISTINCT ON is not one",
            "windows_used",
            "(*select.target_list, *select.distinct_clause, *select.sort_clause)",
            "(*select.target_list, *select.sort_clause)",
        ),
        Mutant(
            "a function of the key counts as the key",
            "_meant",
            'if kind_of(node) != "ColumnRef" or self._opaque:\n    return None',
            "below = [node]\n"
            "while below and kind_of(below[0]) != 'ColumnRef':\n"
            "    below += children(below.pop(0))\n"
            "if not below:\n"
            "    return None\n"
            "node = below[0]",
        ),
        Mutant(
            "only the innermost SELECT groups",
            "key_objections",
            "reversed(range(len(levels)))",
            "[len(levels) - 1]",
        ),
        Mutant(
            "every output of a subquery carries the key",
            "carried_upwards",
            "column in kept and known.count(name) == 1",
            "True",
        ),
        Mutant("columns of other types are equal", "_class_of", "self.key_type(other) == key", "1"),
        Mutant(
            "any operator equates",
            "equated",
            'names(condition.name) in {("=",), ("pg_catalog", "=")}',
            "True",
        ),
        Mutant(
            "IS DISTINCT FROM equates",
            "equated",
            "condition.kind != _AEXPR_OP",
            "False",
        ),
        Mutant(
            "somebody's own = equates",
            "equated",
            "self._facts.operators.get((...,))",
            "False",
        ),
        Mutant("OR holds like AND", "conjuncts", "node.boolop == _AND", "True"),
    ],
    "aggregates without GROUP BY": [
        Mutant("count(*) adds up", "_aggregate", "not found.select.group_clause", "False"),
        Mutant(
            "HAVING is a WHERE",
            "grouping_objections",
            'not level.group_clause and level.select.HasField("having_clause")',
            "False",
        ),
        Mutant(
            "JSON_ARRAYAGG looks at one row",
            "_objections_to_kind",
            'yield Reason("aggregate", ...)',
            "pass",
        ),
    ],
    "LIMIT, TABLESAMPLE, FOR UPDATE, recursive and data-modifying WITH, RETURNING": [
        Mutant("LIMIT", "extent_objections", 'yield Reason("limit", ...)', "pass"),
        Mutant(
            "OFFSET is no LIMIT",
            "extent_objections",
            'node.HasField("limit_count") or node.HasField("limit_offset")',
            'node.HasField("limit_count")',
        ),
        Mutant("TABLESAMPLE", "extent_objections", 'yield Reason("tablesample", ...)', "pass"),
        Mutant("FOR UPDATE", "_objections_below", 'yield Reason("locking", ...)', "pass"),
        Mutant("a recursive WITH is inlined", "_queries", "not found.done", "False"),
        Mutant(
            "a WITH that writes is inlined",
            "_is_plain",
            'kind_of(inner(query.ctequery)) == "SelectStmt"',
            "True",
        ),
        Mutant(
            "WITH of the statement stays",
            "_objections_to_statement",
            'yield Reason("cte", ...)',
            "pass",
        ),
        Mutant("WITH of a query stays", "_objections_below", 'yield Reason("cte", ...)', "pass"),
        Mutant("INTO", "objections", 'select.HasField("into_clause")', "False"),
        Mutant("RETURNING", "_objections_to_statement", 'yield Reason("returning", ...)', "pass"),
    ],
    "ORDER BY at the top": [
        Mutant("nobody is told of the order", "hazards_of", "shape.select.sort_clause", "False"),
    ],
    "functions whose value has nothing to do with other rows": [
        Mutant("currval() is one of them", "ROW_INDEPENDENT", '"timeofday"', '"currval"'),
        Mutant(
            "nobody is told of a sequence's order",
            "hazards_of",
            'functions.base_name(node) == "nextval"',
            "False",
        ),
    ],
    "transaction-time functions": [
        Mutant("now() stays", "is_transaction_time", "", "return False"),
        Mutant("CURRENT_DATE stays", "looks_at_time", "_OP_NAMES[node.op] in _CASTS", "False"),
        Mutant("time in a default stays", "target_columns", "frozen.append(...)", "pass"),
        Mutant(
            "'to' || 'day' is text",
            "special_datetimes",
            "any(_is_built_text(node.arg) for node in casts)",
            "False",
        ),
        Mutant(
            "a cast to a date gives a number", "special_datetimes", "_is_to_number(node)", "True"
        ),
        Mutant(
            "time in FROM is renamed",
            "prepared",
            "any(_is_time_in_from(node, facts) for node in walk(copy))",
            "False",
        ),
        Mutant("'today' is text", "special_datetimes", "may_mean_time(text)", "False"),
        Mutant(
            "age(x) is age(x, y)",
            "_builtin_objection",
            'name == "age" and args == 1',
            "False",
        ),
        Mutant(
            "a user's now() is the server's",
            "_is_time",
            "means.is_builtin",
            "True",
        ),
    ],
    "other volatile and unknown functions": [
        Mutant(
            "a volatile function of pg_catalog",
            "_builtin_objection",
            'any(function.volatility == "v" for function in found)',
            "False",
        ),
        Mutant(
            "a function that is not there",
            "objection",
            'return Reason("function-unknown", ...)',
            "return None",
        ),
        Mutant(
            "a user's stable function",
            "objection",
            'function.schema != "pg_catalog" and function.volatility != "i"',
            'function.schema != "pg_catalog" and function.volatility == "v"',
        ),
        Mutant("pg_ functions", "_builtin_objection", "name.startswith(...)", "False"),
        Mutant("current_setting()", "_builtin_objection", "name in UNSTABLE", "False"),
        Mutant("x.name calls no function", "_attribute", "yield ...", "pass"),
        Mutant("a user's operator", "operator_objections", "yield ...", "pass"),
        Mutant("a user's type", "type_objections", "name in facts.unsafe_types", "False"),
        Mutant(
            "a type of the session's", "type_objections", "name in facts.temporary_types", "False"
        ),
        Mutant(
            "an argument of a user's type",
            "_objections_to_unseen",
            "_calls_users(shape.tree_nodes, facts)",
            "False",
        ),
        Mutant(
            "a sequence that cycles", "cycling", "functions.base_name(node) == 'nextval'", "False"
        ),
        Mutant(
            "SQL/JSON that is a user's function",
            "_objections_to_unseen",
            'one.schema != "pg_catalog"',
            "False",
        ),
        Mutant("xmax", "_objections_to_unseen", 'names(node.fields)[-1:] == ("xmax",)', "False"),
        Mutant(
            "the name of the new table",
            "_objections_to_unseen",
            "any(map(_looks_name_up, shape.tree_nodes.of('TypeCast')))",
            "False",
        ),
        Mutant(
            "a user's cast", "objections_everywhere", 'yield Reason("cast-function", ...)', "pass"
        ),
        Mutant(
            "syntax that nobody thought of",
            "construct_objections",
            "kind not in ALLOWED and kind not in EXPLAINED",
            "False",
        ),
        Mutant("a parameter", "_objections_below", 'yield Reason("parameter", ...)', "pass"),
    ],
    "the target's triggers, rules, checks, defaults": [
        Mutant("a trigger", "_side_effects", 'yield Reason("trigger", ...)', "pass"),
        Mutant(
            "triggers of another event",
            "_side_effects",
            "target.delete_triggers",
            "target.triggers",
        ),
        Mutant("a rule of the target", "_side_effects", "target.has_rules", "False"),
        Mutant(
            "a CHECK with a function",
            "_side_effects",
            'yield Reason("check-function", ...)',
            "pass",
        ),
        Mutant("a foreign key to itself", "_side_effects", "target.references_itself", "False"),
        Mutant(
            "a default with a volatile function",
            "target_columns",
            "objection is not None",
            "False",
        ),
        Mutant(
            "a target that is no table",
            "target_objections",
            'target.kind not in {"r", "p"}',
            "False",
        ),
        Mutant("a foreign partition", "target_objections", "target.foreign_partitions", "False"),
        Mutant(
            "partitions of both kinds",
            "target_objections",
            'yield Reason("unlogged-partitions", ...)',
            "pass",
        ),
    ],
    "views, partitions, foreign tables": [
        Mutant("a view is a table", "_objections_to_relations", "yield views.get(...)", "pass"),
        Mutant("a view has a row type", "_objection", "_is_used_as_row(...)", "False"),
        Mutant(
            "a view has a row type: its name",
            "_means_row",
            "only == alias and alias not in columns",
            "False",
        ),
        Mutant(
            "a view has a row type: its attributes",
            "_means_row",
            "first == alias and last not in columns",
            "False",
        ),
        Mutant("a view has a schema", "_means_row", "alias in parts[:-1]", "False"),
        Mutant("a view's star has a schema", "_is_plain_star", "len(node.fields) <= 2", "True"),
        Mutant("ONLY of a view", "_objection", "not reference.inh", "False"),
        Mutant("a security barrier", "_objection_to_view", "found.security_barrier", "False"),
        Mutant(
            "a view hides no rows",
            "_objection_to_view",
            "found.row_security",
            "False",
        ),
        Mutant(
            "the owner's privileges",
            "_objection_to_view",
            "if found.forbidden:\n    return ...",
            "pass",
        ),
        Mutant(
            "operators that search_path hides",
            "_objection_to_view",
            "if found.hidden_operators:\n    why = ...\n    return ...",
            "pass",
        ),
        Mutant("a rule of a view", "_objection_to_view", "view.has_rules", "False"),
        Mutant("a temporary view", "_objection_to_view", 'view.persistence == "t"', "False"),
        Mutant("a view on itself", "_made", "depth >= NESTED_MAX", "False"),
        Mutant(
            "a view of another database",
            "expand",
            "view is None or view.kind not in self._kinds or reference.catalogname",
            "view is None or view.kind not in self._kinds",
        ),
        Mutant(
            "the columns of a view are the definition's",
            "_as_subquery",
            "subquery.alias.colnames.append(...)",
            "pass",
        ),
        Mutant(
            "a view has no alias",
            "_as_subquery",
            "reference.alias.aliasname or reference.relname",
            "reference.relname",
        ),
        Mutant(
            "foreign partitions of a source",
            "_objections_to_source",
            'relation.kind == "f" or relation.foreign_partitions',
            'relation.kind == "f"',
        ),
        Mutant(
            "a source of another database",
            "_objections_to_relations",
            'relation is None or relation.kind == "?" or node.catalogname',
            'relation is None or relation.kind == "?"',
        ),
        Mutant(
            "a target of another database",
            "target_objections",
            'target is None or target.kind == "?" or relation.catalogname',
            'target is None or target.kind == "?"',
        ),
        Mutant(
            "a column without an order is cut",
            "_columns",
            "column.orderable",
            "True",
        ),
        Mutant(
            "a name that two columns have is cut",
            "_named",
            "known.count(seen) == 1",
            "True",
        ),
        Mutant("a parent's blocks are all", "_is_heap", "not relation.has_children", "True"),
        Mutant("ONLY is not seen", "_is_heap", "not item.node.inh", "False"),
        Mutant("any access method has blocks", "_is_heap", "relation.heap", "True"),
        Mutant(
            "a foreign table", "_objections_to_source", 'yield Reason("foreign-table", ...)', "pass"
        ),
        Mutant(
            "a sequence", "_objections_to_source", 'yield Reason("sequence-relation", ...)', "pass"
        ),
        Mutant(
            "a temporary source",
            "_objections_to_source",
            'yield Reason("temporary-table", ...)',
            "pass",
        ),
        Mutant(
            "a temporary target",
            "target_objections",
            'yield Reason("temporary-table", ...)',
            "pass",
        ),
        Mutant(
            "a column called ctid is one",
            "_is_heap",
            '"ctid" in names(item.node.alias.colnames)',
            "False",
        ),
    ],
    "row-level security and rules": [
        Mutant("rows that are hidden", "_objections_to_source", "relation.row_security", "False"),
        Mutant("rows that are refused", "_side_effects", "target.row_security", "False"),
        Mutant("a rule of a source", "_objections_to_source", "relation.has_rules", "False"),
        Mutant(
            "a server that keeps rows elsewhere",
            "distribute",
            "if facts.server_refuses_split:\n    return ...",
            "pass",
        ),
    ],
    "the statement of a chunk": [
        Mutant(
            "NULLs are left out of the first range",
            "_before",
            'f"({found} OR {part} IS NULL)"',
            "found",
        ),
        Mutant(
            "a range holds its upper bound",
            "_before",
            '"<=" if rest or or_equal else "<"',
            '"<="',
        ),
        Mutant(
            "a range lacks its lower bound",
            "_at_or_after",
            '_compared(">=", parts, bound)',
            '_compared(">", parts, bound)',
        ),
        Mutant(
            "rows with a NULL in a later part of the key are lost",
            "_before",
            'found += f" AND ({_at_or_after(parts, bound)}) IS NOT TRUE"',
            'found += f" AND NOT ({_at_or_after(parts, bound)})"',
        ),
        Mutant(
            "what knows the first column of a bound stops before its value",
            "_between",
            "len(high) > len(parts)",
            "False",
        ),
        Mutant("ranges with a gap between them are one", "_runs", "two > one + 1", "False"),
        Mutant(
            "NULL after a bound that begins with NULL is lost",
            "_between",
            "len(low) == shared or low[shared] is None",
            "len(low) == shared",
        ),
        Mutant(
            "an expression tells equal values apart",
            "objections_to_expression",
            "column.type not in EXACT_TYPES",
            "False",
        ),
        Mutant(
            "an expression of what an UPDATE assigns",
            "objections_to_expression",
            'reason.code == "key-assigned"',
            "False",
        ),
        Mutant(
            "groups are divided by an expression of anything",
            "objections_to_expression",
            "not by_rows and not shape.meets",
            "not shape.meets",
        ),
        Mutant(
            "rows that meet are divided by an expression of anything",
            "objections_to_expression",
            "not by_rows and not shape.meets",
            "not by_rows",
        ),
        Mutant(
            "blocks without an upper bound",
            "restrict_blocks",
            "parse_expression(...)",
            'parse_expression(f"{column} OPERATOR(pg_catalog.>=) {low}::pg_catalog.tid")',
        ),
        Mutant(
            "WHERE is replaced",
            "add_condition",
            "not message.HasField(clause)",
            "True",
        ),
        Mutant(
            "a OR b becomes a AND b",
            "add_condition",
            "before.bool_expr.boolop == both.boolop",
            "True",
        ),
        Mutant(
            "the outermost SELECT is restricted",
            "restrict_blocks",
            "filtered(copy, candidate.path)",
            "filtered(copy, ())",
        ),
        Mutant("the time is not frozen", "prepared", "freeze_time(...)", "pass"),
        Mutant("a frozen default is not written", "prepared", "_write_out(...)", "pass"),
        Mutant("what is deparsed is not compared", "render", "same_tree(...)", "True"),
        Mutant(
            "the first call in the target list is the series",
            "series_call",
            'names(found.node.funcname)[-1] == "generate_series"',
            "True",
        ),
        Mutant(
            "all columns carry the key",
            "_partners",
            "level.carrying(...)",
            "{(item.ordinal, name) for item in level.items for name in ('x', 'y')}",
        ),
    ],
    "a verdict for statements of one shape": [
        Mutant(
            "a string that means the time is left out", "_without", "may_mean_time(string)", "False"
        ),
        Mutant(
            "every string is left out",
            "_without",
            "before is None or (string is not None and may_mean_time(string))",
            "False",
        ),
        Mutant("whole and decimal numbers are alike", "_without", "decimal is None", "True"),
        Mutant(
            "other facts, the same verdict",
            "verdict",
            "known.facts is facts or known.facts == facts",
            "True",
        ),
        Mutant(
            "names of WITH queries may be hidden",
            "shape",
            "any(part in lower for part in _ITS_OWN_SHAPE)",
            "False",
        ),
        Mutant(
            "the tree is that of the first statement",
            "verdict",
            "replace(found, made=lambda: _rewritten(tree(), facts))",
            "found",
        ),
    ],
}

RULES = READ_RULES | WRITE_RULES | LIGHT_RULES
MUTANTS: list[tuple[str, Mutant]] = [
    (rule, mutant) for rule, mutants in RULES.items() for mutant in mutants
]
