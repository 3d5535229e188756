"""Why a statement is not split, and in what a split run may differ: closed lists of codes.

A reason is a value with a code that programs can rely on and a message for people. The codes are
explained in docs/reasons.md.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

ReasonCode: TypeAlias = Literal[
    "aggregate",
    "asked-serial",
    "assigned-unique",
    "atomic",
    "attribute-function",
    "cast-function",
    "check-function",
    "copy-file",
    "cte",
    "default-function",
    "deparse",
    "distinct",
    "event-trigger",
    "explain",
    "foreign-key-action",
    "foreign-table",
    "function-unknown",
    "function-volatile",
    "function-unstable",
    "group-by",
    "into",
    "hot-value",
    "key-assigned",
    "key-collation",
    "key-expression",
    "key-not-found",
    "key-not-indexed",
    "key-without-cells",
    "limit",
    "locking",
    "merge",
    "merge-key",
    "no-driving-relation",
    "not-best",
    "not-insert-select",
    "on-conflict",
    "operator-unknown",
    "parameter",
    "plain-cheaper",
    "privilege",
    "published",
    "reads-target",
    "relation-unknown",
    "returning",
    "row-order",
    "row-security",
    "rule",
    "sequence-relation",
    "server",
    "session",
    "set-operation",
    "set-returning",
    "series-bounds",
    "small",
    "special-datetime",
    "tablesample",
    "target-exists",
    "target-kind",
    "target-references-itself",
    "temporary-table",
    "too-dear",
    "transaction-block",
    "trigger",
    "unknown-construct",
    "unlogged-partitions",
    "view",
    "volatile-subquery",
    "window",
]

Hazard: TypeAlias = Literal["not-atomic", "physical-order", "sequence-order"]

HAZARDS: dict[str, str] = {
    "not-atomic": "others see finished chunks while the statement runs, and a failure leaves them",
    "physical-order": "rows are stored in another order than ORDER BY gave them",
    "sequence-order": "sequence values are given to rows in another order, some are left out",
}


class Reason(Struct, frozen=True):
    """One reason why a statement runs on one connection."""

    code: ReasonCode
    message: str
