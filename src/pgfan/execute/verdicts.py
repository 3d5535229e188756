"""What a verification comes to: the typed result that Python returns and that `--json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.errors import PgfanError

SCHEMA = 1

VerifyState: TypeAlias = Literal["equal", "differs", "failed", "one connection", "not verified"]


class OnlyThere(Struct, frozen=True):
    """Rows that one run left and the other did not: how many, and the first with their counts.

    A row is the text of its compared columns, as PostgreSQL writes a composite value.
    """

    total: int = 0
    shown: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"total": self.total, "shown": [{"row": r, "count": n} for r, n in self.shown]}


class VerifiedStatement(Struct, frozen=True):
    """One statement. Rows are what each run's statements touched; None where they did not run.

    `key` is "native" for a parallel plan of the server's own. `reasons` are (code, message) pairs,
    for "one connection"; `left_out` maps a column that was not compared to what feeds it.
    """

    id: str
    source: str
    kind: str
    state: VerifyState
    key: str | None = None
    chunks: int = 0
    rows_serial: int | None = None
    rows_split: int | None = None
    only_serial: OnlyThere = OnlyThere()
    only_split: OnlyThere = OnlyThere()
    left_out: Mapping[str, str] | None = None
    reasons: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    error: PgfanError | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, as documented for `pgfan verify --json`."""
        return {
            "id": self.id,
            "source": self.source,
            "kind": self.kind,
            "state": self.state,
            "key": self.key,
            "chunks": self.chunks,
            "rows_serial": self.rows_serial,
            "rows_split": self.rows_split,
            "only_serial": self.only_serial.to_json(),
            "only_split": self.only_split.to_json(),
            "left_out": dict(self.left_out or {}),
            "reasons": [{"code": code, "message": text} for code, text in self.reasons],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 6),
            "error": self.error.message if self.error else None,
        }


class VerifyResult(Struct, frozen=True):
    """A verification; `left_overs` are schemas of crashed ones that were dropped."""

    statements: tuple[VerifiedStatement, ...]
    seconds: float
    left_overs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs and nothing failed."""
        return all(one.state not in {"differs", "failed"} for one in self.statements)

    def to_json(self) -> dict[str, Any]:
        """JSON values, as documented for `pgfan verify --json`."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "seconds": round(self.seconds, 6),
            "statements": [one.to_json() for one in self.statements],
        }
