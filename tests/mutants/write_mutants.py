"""The rules of what is written: targets, ON CONFLICT, MERGE, and tables that a statement makes.

Part of the table in `rule_mutants`.
"""

from __future__ import annotations

from mutation import Mutant

WRITE_RULES: dict[str, list[Mutant]] = {
    "ON CONFLICT": [
        Mutant(
            "rows of ON CONFLICT meet nobody",
            "_of_insert",
            'Shape("insert", tree, tree, select, conflict.assigned(tree), events, meets=True)',
            'Shape("insert", tree, tree, select, conflict.assigned(tree), events)',
        ),
        Mutant(
            "no column has to receive the key",
            "meeting_objections",
            "not any(_is_determined(name, target, given, found) for name in index.plain)",
            "False",
        ),
        Mutant("a reason to meet is none", "_of_insert", "return reason", "return candidate"),
        Mutant(
            "a series in the target list meets nobody",
            "meeting_of_series",
            "not shape.meets",
            "True",
        ),
        Mutant(
            "only the first index counts",
            "meeting_objections",
            "arbiters(insert, target) or ()",
            "(arbiters(insert, target) or ())[:1]",
        ),
        Mutant(
            "every index compares as = does", "meeting_objections", "index.plain", "index.columns"
        ),
        Mutant("any output is the key", "_is_determined", "at in one.outputs", "True"),
        Mutant(
            "what is stored is what was given",
            "_is_determined",
            "is_stored_apart(one.key, column)",
            "True",
        ),
        Mutant("an identity column is given", "_given", "insert.override == _USER_VALUE", "False"),
        Mutant("an element is its column", "_given", "not one.indirection", "True"),
        Mutant(
            "a conflict target that is no index of columns",
            "conflict_objections",
            "arbiters(insert, target) is None",
            "False",
        ),
        Mutant(
            "a conflict target's WHERE",
            "arbiters",
            'infer.HasField("where_clause") or not plain',
            "not plain",
        ),
        Mutant(
            "a conflict target's collation and operators",
            "arbiters",
            'infer.HasField("where_clause") or not plain',
            'infer.HasField("where_clause")',
        ),
        Mutant(
            "a partial index has all rows",
            "arbiters",
            "index.whole and set(index.columns) == wanted",
            "set(index.columns) == wanted",
        ),
        Mutant(
            "a part of the index's columns",
            "arbiters",
            "set(index.columns) == wanted",
            "set(index.columns) >= wanted",
        ),
        Mutant(
            "a partition's index is named as the table's",
            "arbiters",
            "index.own",
            "True",
        ),
        Mutant(
            "a partition's index has no conflicts",
            "arbiters",
            'if not clause.HasField("infer"):\n    return ...',
            'if not clause.HasField("infer"):\n'
            "    return tuple(one for one in target.unique_indexes if one.own)",
        ),
        Mutant(
            "a subquery in ON CONFLICT",
            "conflict_objections",
            'any(kind_of(node) == "SubLink" for node in walk(clause))',
            "False",
        ),
        Mutant(
            "DO UPDATE may read its target",
            "conflict_objections",
            'yield Reason("reads-target", ...)',
            "pass",
        ),
        Mutant(
            "what speaks against ON CONFLICT is not asked",
            "_objections_to_statement",
            "yield from conflict_objections(...)",
            "pass",
        ),
        Mutant("DO UPDATE updates nothing", "_of_insert", "conflict.updates(tree)", "False"),
        Mutant("DO UPDATE assigns nothing", "_of_insert", "conflict.assigned(tree)", "frozenset()"),
        Mutant("DO UPDATE may wait", "may_wait", "not updates(insert)", "True"),
        Mutant("DO NOTHING after ORDER BY may wait", "may_wait", "not select.sort_clause", "True"),
        Mutant("two indexes keep out as one does", "may_wait", "alike", "True"),
        Mutant(
            "partial indexes keep out as one does",
            "may_wait",
            "len(found) == 1 or all(index.whole for index in found)",
            "True",
        ),
        Mutant("children are unique with their parent", "_starts", "alone", "True"),
        Mutant(
            "DO NOTHING may wait under a snapshot",
            "may_wait",
            'not any(kind_of(node) == "RangeVar" for node in walk(select))',
            "True",
        ),
        Mutant(
            "nobody is told of chunks that wait",
            "_of_insert",
            "replace(candidate, may_wait=True)",
            "candidate",
        ),
        Mutant(
            "calls in DO UPDATE are not looked at",
            "places_for",
            "index.is_in_select(number)",
            'index.is_in_select(number) or place.field == "on_conflict_clause"',
        ),
    ],
    "values that a range has for itself": [
        Mutant(
            "blocks have every column for themselves",
            "_starts",
            "alone and column.unique and column.orderable and known.count(seen) == 1",
            "known.count(seen) == 1",
        ),
        Mutant(
            "a column is not NULL outside of its set: what it determines",
            "determinants",
            "kept_by_groups(levels[0], carried)",
            "carried",
        ),
        Mutant(
            "a generated column keeps the key",
            "is_stored_apart",
            "if target.generated:\n    return False",
            "pass",
        ),
        Mutant(
            "whole numbers stay apart in any type",
            "is_stored_apart",
            "key.type in INTEGERS and target.type in INTEGERS",
            "key.type in INTEGERS",
        ),
        Mutant(
            "a length makes nothing equal",
            "is_stored_apart",
            "target.typmod in {-1, key.typmod}",
            "True",
        ),
        Mutant(
            "a collation makes nothing equal",
            "is_stored_apart",
            "(key.type, key.collation) == (target.type, target.collation)",
            "key.type == target.type",
        ),
        Mutant(
            "a series of anything is one of whole numbers",
            "_series_type",
            "if None in bits:\n    return None",
            "pass",
        ),
        Mutant(
            "any output is the series",
            "series_determinants",
            "frozenset({at})",
            "frozenset(range(len(select.target_list)))",
        ),
    ],
    "UPDATE, DELETE": [
        Mutant(
            "the key may be assigned",
            "key_objections",
            'yield Reason("key-assigned", ...)',
            "pass",
        ),
        Mutant(
            "what the key is generated from may be assigned",
            "is_changed",
            "bool(sources & assigned)",
            "False",
        ),
        Mutant(
            "rows of one group at one place",
            "key_objections",
            'candidate.key == "column" and candidate.column is not None',
            "candidate.column is not None",
        ),
        Mutant(
            "an UPDATE by blocks",
            "candidates",
            'self.kind not in {"update", "merge"}',
            'self.kind != "merge"',
        ),
        Mutant(
            "a joined relation drives",
            "counted",
            "items[:1] if self.kind in IN_PLACE else items",
            "items",
        ),
        Mutant(
            "a unique column may be assigned",
            "_objections_to_statement",
            "target.unique_columns & changed_columns(target, shape.assigned)",
            "frozenset()",
        ),
        Mutant(
            "a unique expression may be assigned",
            "_objections_to_statement",
            '"*" in target.unique_columns',
            "False",
        ),
        Mutant(
            "what is generated does not change",
            "_objections_to_statement",
            "changed_columns(target, shape.assigned)",
            "shape.assigned",
        ),
        Mutant(
            "a row may move to a unique index",
            "_objections_to_statement",
            "moves_rows(target, shape.assigned)",
            "False",
        ),
        Mutant(
            "a row that moves is only updated",
            "_events",
            "moves_rows(target, shape.assigned)",
            "False",
        ),
        Mutant(
            "all children generate alike",
            "is_changed",
            "column.generated and relation.has_children",
            "False",
        ),
        Mutant(
            "an expression moves no row",
            "moves_rows",
            'assigned and "*" in keys',
            "False",
        ),
        Mutant(
            "a foreign key cascades",
            "_objections_to_statement",
            'yield Reason("foreign-key-action", ...)',
            "pass",
        ),
        Mutant(
            "a DELETE by blocks needs no snapshot", "_verdict", 'shape.kind == "delete"', "False"
        ),
    ],
    "MERGE": [
        Mutant(
            "a MERGE by blocks",
            "candidates",
            'self.kind not in {"update", "merge"}',
            'self.kind != "update"',
        ),
        Mutant(
            "ON need not equate",
            "meeting_of",
            "column if isinstance(column, Reason) else replace(candidate, meets=column.ranged)",
            "candidate",
        ),
        Mutant(
            "ON may equate two columns of the source",
            "_equated",
            "own[0] != TARGET or other not in one.columns",
            "other not in one.columns",
        ),
        Mutant(
            "ON may equate the target's column to anything",
            "_equated",
            "own[0] != TARGET or other not in one.columns",
            "own[0] != TARGET",
        ),
        Mutant(
            "columns of other types are equal: MERGE",
            "_equated",
            "kind == key or (kind is not None and {kind.type, key.type} <= INTEGERS)",
            "True",
        ),
        Mutant(
            "the column in ON may be assigned",
            "_objection",
            "name in assigned(merge) or column.generated",
            "column.generated",
        ),
        Mutant(
            "the column in ON may be generated",
            "_objection",
            "name in assigned(merge) or column.generated",
            "name in assigned(merge)",
        ),
        Mutant(
            "rows with any key may be inserted",
            "_objection",
            "given not in one.columns or not is_stored_apart(one.key, column)",
            "not is_stored_apart(one.key, column)",
        ),
        Mutant(
            "rows with a rounded key may be inserted",
            "_objection",
            "given not in one.columns or not is_stored_apart(one.key, column)",
            "given not in one.columns",
        ),
        Mutant(
            "rows may be deleted and inserted",
            "_objection",
            'events(merge) >= {"insert", "delete"} and not apart',
            "False",
        ),
        Mutant(
            "an identity column is given: MERGE",
            "_given",
            "clause.override == _USER_VALUE",
            "False",
        ),
        Mutant(
            "WHEN NOT MATCHED BY SOURCE",
            "merge_objections",
            "any(clause.match_kind == _BY_SOURCE for clause in clauses(merge))",
            "False",
        ),
        Mutant(
            "a part of a column may be assigned",
            "merge_objections",
            "any(entry.indirection for entry in entries)",
            "False",
        ),
        Mutant(
            "any source may drive a MERGE",
            "merge_objections",
            'kind_of(inner(merge.source_relation)) != "RangeSubselect"',
            "False",
        ),
        Mutant(
            "what speaks against MERGE is not asked",
            "_objections_to_statement",
            "yield from merge_objections(...)",
            "pass",
        ),
        Mutant(
            "a subquery has system columns",
            "_names_more",
            "len(path) == 1 or path[1] in SYSTEM_COLUMNS",
            "len(path) == 1",
        ),
        Mutant(
            "a subquery has a row type: a name",
            "_names_more",
            "path == (alias,) and not is_column",
            "False",
        ),
        Mutant(
            "a subquery has a row type: a star",
            "_names_more",
            "len(path) == 1 or path[1] in SYSTEM_COLUMNS",
            "len(path) > 1 and path[1] in SYSTEM_COLUMNS",
        ),
        Mutant("a subquery has a schema", "_names_more", "len(node.fields) > 2", "False"),
        Mutant(
            "values of actions are not looked at",
            "as_insert",
            "add_copies(select.target_list, map(_output, _values(clause)))",
            "pass",
        ),
        Mutant(
            "conditions of actions are not looked at",
            "as_insert",
            "add_copies(select.target_list, [_output(clause.condition)])",
            "pass",
        ),
        Mutant("the target of a MERGE drives", "as_insert", '"JOIN_LEFT"', '"JOIN_INNER"'),
        Mutant(
            "a MERGE may read its target",
            "_objections_to_relations",
            'shape.kind in {"insert", "merge"}',
            'shape.kind == "insert"',
        ),
        Mutant(
            "a MERGE only inserts", "_shape_of", "merge.events(changed)", 'frozenset({"insert"})'
        ),
        Mutant("a MERGE assigns nothing", "_shape_of", "merge.assigned(changed)", "frozenset()"),
        Mutant(
            "a default of a MERGE with a volatile function",
            "merge_columns",
            "reasons += found.reasons",
            "pass",
        ),
        Mutant(
            "time in a default of a MERGE stays",
            "merge_columns",
            "add_copies(clause.values, [parse_expression(omitted.default)])",
            "add_copies(clause.values, [parse_expression('NULL')])",
        ),
        Mutant(
            "the target is cut by bounds of another type",
            "meeting_column",
            "not one.is_series and column.type == one.key.type",
            "True",
        ),
        Mutant(
            "the source of a MERGE stays whole",
            "restrict_column",
            '(holder, "where_clause", tuple(_part(one, holder, facts) for one in key))',
            '(copy, "join_condition", tuple(_part(one, holder, facts) for one in key))',
        ),
    ],
    "CREATE TABLE AS, SELECT INTO": [
        Mutant(
            "a temporary table is made",
            "creation_objection",
            'into.rel.relpersistence == "t" or not is_plain',
            "not is_plain",
        ),
        Mutant(
            "ON COMMIT is forgotten",
            "creation_objection",
            'into.rel.relpersistence == "t" or not is_plain',
            'into.rel.relpersistence == "t"',
        ),
        Mutant(
            "a materialized view is a table", "creation_objection", "unusual is not None", "False"
        ),
        Mutant("WITH NO DATA has rows", "creation_objection", "into.skip_data", "False"),
        Mutant(
            "a table in another database", "creation_objection", "into.rel.catalogname", "False"
        ),
        Mutant("the empty table has rows", "empty", "tree.into.skip_data = True", "pass"),
        Mutant("the table is seen half full", "empty", "tree.into.rel.schemaname = schema", "pass"),
        Mutant(
            "a table that is there already is filled",
            "empty",
            'pb.CreateTableAsStmt(objtype="OBJECT_TABLE")',
            'pb.CreateTableAsStmt(objtype="OBJECT_TABLE", if_not_exists=self.if_not_exists)',
        ),
        Mutant("INTO stays in the SELECT", "without_into", "leftmost(...).ClearField(...)", "pass"),
        Mutant(
            "an unlogged table is logged",
            "writes_unlogged",
            "return creation.unlogged",
            "return False",
        ),
        Mutant(
            "an unlogged target is logged",
            "writes_unlogged",
            'target is not None and target.persistence == "u"',
            "False",
        ),
    ],
    "native: through a temporary table": [
        Mutant(
            "what follows the SELECT may read its WITH",
            "staged_query",
            'tree.HasField("with_clause") and follows',
            "False",
        ),
        Mutant(
            "ON CONFLICT does not follow the SELECT",
            "staged_query",
            'tree.HasField("on_conflict_clause") or tree.HasField("returning_clause")',
            'tree.HasField("returning_clause")',
        ),
        Mutant(
            "a WITH that writes is staged",
            "staged_query",
            'kind_of(node) in CHANGING or kind_of(node) == "ParamRef"',
            'kind_of(node) == "ParamRef"',
        ),
        Mutant(
            "a parameter is staged",
            "staged_query",
            'kind_of(node) in CHANGING or kind_of(node) == "ParamRef"',
            "kind_of(node) in CHANGING",
        ),
        Mutant(
            "WITH runs twice",
            "insertion",
            'insert.ClearField("with_clause")',
            "pass",
        ),
    ],
}
