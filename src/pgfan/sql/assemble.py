"""The SQL of single branches of a UNION ALL put together to whole statements.

Every chunk of a branch holds all the others, so writing each of the statements out from its tree
would take quadratic time. Each branch is written once as it is and once empty, as a query that
stands alone, and so is the statement around them; all of these are parsed again and compared. What
is put together here is text in parentheses, which the grammar allows wherever a branch may stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.branches import make_empty
from pgfan.sql.render import render
from pgfan.sql.rewrite import Template, cut_at, prepared, restrict_nothing, unused_parameters
from pgfan.sql.shape import filtered
from pgfan.sql.tree import copy_of, inner, parse_expression, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.sql.branches import Branch, Branches
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.tree import Message


class Assembly(Struct, frozen=True):
    """A statement in pieces. `alone` are its branches as statements of their own.

    Their candidates are those of the branch. `around` is the SQL around the branches, `whole` and
    `empty` are theirs.
    """

    alone: tuple[Split, ...]
    prefix: str
    around: tuple[str, ...]
    whole: tuple[str, ...]
    empty: tuple[str, ...]

    def statement(self, kept: Mapping[int, Template | None]) -> Template:
        """The statement with all branches empty but those in `kept`, by their numbers.

        At most one of them has holes, which are those of the result; None is a branch as it is.
        """
        pieces = [self.around[0]]
        columns: tuple[tuple[str, ...], ...] = ()
        for number, after in enumerate(self.around[1:]):
            own: tuple[str, ...] = (self.empty[number],)
            template = kept.get(number)
            if template is not None:
                first, *others = template.pieces
                own = (first.removeprefix(self.prefix), *others)
                columns = template.columns
            elif number in kept:
                own = (self.whole[number],)
            pieces[-1] += f"({own[0]}"
            pieces += own[1:]
            pieces[-1] += f"){after}"
        return Template(tuple(pieces), columns)


def assemble(split: Split, branches: Branches, facts: CatalogFacts, frozen_at: str) -> Assembly:
    """Take the statement apart; RenderError when some of it has no text that means it."""
    tree = prepared(split, facts, frozen_at)
    alone = tuple(_alone(split, tree, branch) for branch in branches)
    markers = unused_parameters(tree, len(branches))
    for branch, marker in zip(branches, markers, strict=True):
        filtered(tree, branch.path).CopyFrom(_select(parse_expression(marker)))
    prefix = render(_insert(tree, _select(parse_expression("1")))).removesuffix("SELECT 1")
    return Assembly(
        alone,
        prefix,
        cut_at(render(tree), *(f"SELECT {marker}" for marker in markers)),
        tuple(
            restrict_nothing(each, facts, frozen_at).pieces[0].removeprefix(prefix)
            for each in alone
        ),
        tuple(_empty(each.tree).removeprefix(prefix) for each in alone),
    )


def _alone(split: Split, tree: Message, branch: Branch) -> Split:
    steps = len(branch.path)
    candidates = tuple(replace(each, path=each.path[steps:]) for each in branch.candidates)
    insert = _insert(tree, filtered(tree, branch.path))
    alone = replace(split, candidates=candidates, frozen_defaults=(), unions=())
    return alone.with_tree(insert)


def _empty(insert: Message) -> str:
    copy = copy_of(insert)
    make_empty(inner(copy.select_stmt))
    return render(copy)


def _insert(tree: Message, select: Message) -> Message:
    insert = pb.InsertStmt(override="OVERRIDING_NOT_SET")
    insert.relation.CopyFrom(tree.relation)
    insert.select_stmt.CopyFrom(wrap("select_stmt", select))
    return insert


def _select(value: Message) -> Message:
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    select.target_list.add().res_target.val.CopyFrom(value)
    return select
