"""`--log-file`: every event of a run as a line of JSON, for whoever asks afterwards.

The lines carry the events' own fields, the wall clock in UTC, and nothing secret. A log that cannot
be written costs one warning and never the run.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pgfan.report.lines import Display
from pgfan.report.safe_text import redact_dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from pathlib import Path
    from typing import BinaryIO

    from pgfan.events import Event

_TEXT_CHARS_MAX = 10_000


def open_log(
    path: Path,
    *,
    on_warning: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Display:
    """A display that appends to the file at `path`, which is made where it does not exist.

    `on_warning` is called once, with a sentence for the user, when the file cannot be opened or
    written; after that events go nowhere.
    """
    return _Log(path, on_warning, now)


class _Log(Display):
    def __init__(
        self, path: Path, on_warning: Callable[[str], None], now: Callable[[], datetime]
    ) -> None:
        # structlog costs 100 ms of imports: only who asks for a log pays them.
        import structlog

        self._path = path
        self._on_warning = on_warning
        self._now = now
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("ab")
        except OSError as error:
            self._give_up(error)
            return
        self._logger: Any = structlog.wrap_logger(
            structlog.BytesLogger(self._file),
            processors=[self._stamp, structlog.processors.JSONRenderer(serializer=_encode)],
            wrapper_class=structlog.BoundLogger,
        )

    def _stamp(
        self, _logger: object, _method: str, entry: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        moment = self._now().astimezone(UTC).isoformat(timespec="milliseconds")
        return {"at": moment.replace("+00:00", "Z"), "event": entry.pop("event"), **entry}

    def emit(self, event: Event) -> None:
        """Write one line."""
        if self._file is None:
            return
        entry = {name: _loggable(value) for name, value in msgspec.structs.asdict(event).items()}
        try:
            self._logger.msg(type(event).__name__, **entry)
        except (OSError, ValueError) as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        file, self._file = self._file, None
        if file is not None:
            # What is left in the buffer cannot be written either.
            with suppress(OSError):
                file.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._on_warning(f"no log in {self._path}: {reason}; the run goes on without it")


def _loggable(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if not isinstance(value, str):
        return value
    redacted = redact_dsn(value)[:_TEXT_CHARS_MAX]
    # JSON knows no unpaired surrogates.
    return redacted.encode("utf-8", "backslashreplace").decode("utf-8")


def _encode(entry: dict[str, Any], **_: object) -> bytes:
    return msgspec.json.encode(entry)
