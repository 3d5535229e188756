"""Formats that are not COPY's own text: by the name of a file, or as told, to a source.

A source that must know which types its columns go to has `for_columns`; whoever has matched the
columns with those of the table calls it before it asks for anything else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec.structs import replace

from pgfan.errors import UsageError
from pgfan.load.copy_options import CopyOptions
from pgfan.load.rewritten import FixedWidth, JsonLines, RewrittenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.load.delimited import Reading
    from pgfan.load.sources import Identity, Source

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".pgcopy": "binary",
    ".geojson": "geo",
    ".topojson": "geo",
    ".gpkg": "geo",
    ".shp": "geo",
}
KINDS = frozenset({"binary", "parquet", "arrow", "jsonl", "fixed", "geo"})
"""Formats that are none of COPY's text formats."""
OF_LINES = frozenset({"jsonl", "fixed"})
"""Read as lines of text, and so also from compressed files and archives."""


@runtime_checkable
class TypedSource(Protocol):
    """A source whose bytes depend on the columns they go to."""

    def for_columns(self, types: Sequence[str], *, text: bool = False) -> Source:
        """The same file; `types` (pg_type.typname) in its columns' order; `text`: not binary."""
        ...


def open_whole(identity: Identity, kind: str, layer: str | None = None) -> Source:
    """The source in a file that is no text. Raises FileError and, for an extra, UsageError."""
    if kind == "binary":
        from pgfan.load.binary_copy import BinaryCopyFile

        return BinaryCopyFile(identity)
    _require("pyarrow", "geo" if kind == "geo" else "files", identity.path)
    from pgfan.load.columnar import ArrowBatches, ColumnarSource, ParquetBatches

    if kind == "geo":
        _require("pyogrio", "geo", identity.path)
        from pgfan.load.layers import LayerBatches

        return ColumnarSource(identity, LayerBatches(identity.path, layer))
    make: Callable[[str], ParquetBatches | ArrowBatches] = (
        ParquetBatches if kind == "parquet" else ArrowBatches
    )
    return ColumnarSource(identity, make(identity.path))


def as_lines(reading: Reading) -> Reading:
    """How a file of such a format is read before its lines are rewritten."""
    encoding = reading.options.encoding
    options = CopyOptions("text", header=bool(reading.options.header), encoding=encoding)
    return replace(
        reading, options=options, has_header=lambda _: False, marker_ends=False, kind=None
    )


def rewritten(lines: Source, kind: str | None, reading: Reading) -> Source:
    """The lines of a file as rows. Raises FileError and UsageError."""
    if kind == "jsonl":
        return RewrittenFile(lines, JsonLines.of(lines))
    if not reading.widths:
        raise UsageError(
            f"{lines.name}: fixed width needs to know the widths",
            hint="--widths 10,8,20 says how many characters each column has",
        )
    return RewrittenFile(lines, FixedWidth(reading.widths, reading.options.codec))


def _require(package: str, extra: str, path: str) -> None:
    try:
        import_module(package)
    except ImportError:
        raise UsageError(
            f"{path} needs the package {package}", hint=f"pip install 'pgfan[{extra}]'"
        ) from None
