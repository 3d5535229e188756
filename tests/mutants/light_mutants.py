"""What is light, what it may share, and what one look at a form may stand for: each rule broken."""

from __future__ import annotations

from mutation import Mutant

LIGHT_RULES: dict[str, list[Mutant]] = {
    "light statements": [
        Mutant(
            "a light INSERT may have a WITH", "rows_of_light", "tree.HasField('with_clause')", "0"
        ),
        Mutant(
            "a light INSERT may have subqueries", "rows_of_light", "all(map(is_light, ...))", "1"
        ),
        Mutant(
            "what a conflict does may read",
            "rows_of_light",
            "any(kind_of(node) == 'SubLink' for node in walk(tree.on_conflict_clause))",
            "False",
        ),
        Mutant(
            "light statements may call a user's functions",
            "is_alone",
            "any(effect.object.kind == 'function' for effect in found.effects)",
            "False",
        ),
        Mutant("light statements may need their session", "is_alone", "found.session", "False"),
        Mutant("any function is light", "is_light", "name[-1] in FUNCTIONS", "True"),
        Mutant(
            "a light definition may have a notice",
            "is_light_definition",
            "tree.if_not_exists or tree.inh_relations or tree.HasField('partbound') or any(...)",
            "any(map(_names_table, walk(tree)))",
        ),
        Mutant(
            "a light definition may have a foreign key",
            "_names_table",
            "node.contype == pb.CONSTR_FOREIGN",
            "False",
        ),
        Mutant(
            "a view may be replaced among others", "is_light_definition", "tree.replace", "False"
        ),
    ],
    "what light statements share": [
        Mutant(
            "nothing tells the time",
            "mentions_clock",
            "any(word in lower for word in _OF_THE_CLOCK)",
            "False",
        ),
        Mutant("the clock's words are in small letters", "mentions_clock", "text.lower()", "text"),
        Mutant(
            "defaults take no time", "shared_without_clock", "all(map(_is_drawn, defaults))", "True"
        ),
        Mutant(
            "a parent is a plain table",
            "shared_without_clock",
            "relation.name in definitions.parents",
            "False",
        ),
        Mutant("DEFAULT is a value", "shared_without_clock", "given = set()", "pass"),
    ],
    "one look at a form": [
        Mutant(
            "two forms are one",
            "form_of",
            "found['head'] + _CONSTANTS.sub('?', found['rows'])",
            "found['head']",
        ),
        Mutant(
            "long texts have a form", "form_of", "found.end() - found.start() > CHARS_MAX", "False"
        ),
        Mutant("a form touches the same for ever", "read", "self._of_forms.clear()", "pass"),
        Mutant(
            "a statement has the tree of another",
            "tree",
            "self.skeleton if self.form is None else inner(...)",
            "self.skeleton",
        ),
    ],
}
