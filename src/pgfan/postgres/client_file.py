r"""The client's file that psql's `\copy ... TO` writes: a Sink of one piece.

The rows go to a temporary name beside it, which becomes the file's own when all are there and
before COMMIT: a run that is killed in between does it again, and nobody sees half a file. What is
no regular file, such as /dev/null, is written as it stands.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.plan.ranges import Range
    from pgfan.sql.script import ScriptItem

IO_ERROR = "58030"
PARTIAL = ".pgfan-partial"


class ClientFile:
    """Implements `pgfan.ports.Sink`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, piece: Range, rows: Callable[[Callable[[bytes], None]], int]) -> int:  # noqa: ARG002  # there is one
        """See `pgfan.ports.Sink`. Raises DatabaseError when the file cannot be written."""
        path = Path(os.path.realpath(self._name))  # a link stays, as with psql
        partial: Path | None = None
        try:
            known = path.stat() if path.exists() else None
            if known is None or stat.S_ISREG(known.st_mode):
                partial = path.with_name(path.name + PARTIAL)
            with open(partial or path, "wb") as file:  # noqa: PTH123

                def take(message: bytes) -> None:
                    file.write(message)

                count = rows(take)
            if partial is not None:
                if known is not None:
                    partial.chmod(stat.S_IMODE(known.st_mode))
                partial.replace(path)
        except BaseException as error:
            if partial is not None:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                why = f"{self._name}: {error.strerror}"
                raise DatabaseError(why, sqlstate=IO_ERROR) from error
            raise
        return count


def client_file_of(item: ScriptItem) -> ClientFile | None:
    """What an item writes for its client; only one that is alone does."""
    statement = item.first
    return ClientFile(statement.client_file or "") if statement.writes_client_file else None
