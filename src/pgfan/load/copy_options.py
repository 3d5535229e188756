"""The options of COPY, by COPY's own names, and what they mean for cutting a file."""

from __future__ import annotations

import codecs
from typing import Any, Literal, TypeAlias

from msgspec import Struct, to_builtins

from pgfan.errors import UsageError
from pgfan.quoting import identifier, literal

Format: TypeAlias = Literal["csv", "text", "binary"]

# Encodings in which a byte below 0x80 may be the second half of a character. None of them uses one
# below 0x30, so that quotes, commas and line ends are what they seem.
EMBEDS_ASCII = frozenset({"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFTJIS2004"})
EMBEDDED_MIN = 0x30
_CODECS = {
    "SQLASCII": "utf-8",
    "UHC": "cp949",
    "EUCCN": "gb2312",
    "EUCJIS2004": "euc_jis_2004",
    "SHIFTJIS2004": "shift_jis_2004",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "EUCJP": "euc_jp",
    "EUCKR": "euc_kr",
}


class CopyOptions(Struct, frozen=True):
    """WITH (...) of a COPY ... FROM STDIN; None means COPY's own default.

    `header` is about the file: pgfan takes the line off and COPY never sees it. None: look.
    `encoding` None is UTF8, whatever the locale says.
    """

    format: Format = "csv"
    delimiter: str | None = None
    null: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    header: bool | None = None
    default: str | None = None
    force_null: tuple[str, ...] = ()
    force_not_null: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for what COPY would refuse and pgfan itself has to understand."""
        csv_only = {"quote": self.quote, "escape": self.escape}
        for name, value in {"delimiter": self.delimiter, **csv_only}.items():
            if value is not None and (len(value) != 1 or ord(value) > 126 or value in "\r\n\0"):
                raise UsageError(f"--{name} {value!r}: COPY takes a single one-byte character")
        if self.format != "csv" and (self.quote or self.escape):
            raise UsageError("--quote and --escape belong to CSV", hint="add --format csv")
        if self.format == "csv" and self.delimiter == self.quote_character:
            raise UsageError("the delimiter and the quote must be different characters")

    @property
    def quote_character(self) -> str:
        """The quote in force."""
        return self.quote or '"'

    @property
    def escape_character(self) -> str:
        """The escape in force: the quote, unless another is given."""
        return self.escape or self.quote_character

    @property
    def delimiter_character(self) -> str:
        """The delimiter in force."""
        return self.delimiter or ("," if self.format == "csv" else "\t")

    @property
    def can_be_cut(self) -> bool:
        """Whether a byte that looks like a quote, an escape or a line end always is one."""
        if _plain(self.encoding) not in EMBEDS_ASCII:
            return self.format != "binary"
        special = self.quote_character + self.escape_character
        return self.format == "csv" and all(ord(one) < EMBEDDED_MIN for one in special)

    @property
    def can_be_parted(self) -> bool:
        """Whether also a byte that looks like the delimiter always is one."""
        plain = ord(self.delimiter_character) < EMBEDDED_MIN
        return self.can_be_cut and (plain or _plain(self.encoding) not in EMBEDS_ASCII)

    @property
    def codec(self) -> str:
        """Python's name for the encoding; for the header alone. Raises UsageError for no name."""
        plain = _plain(self.encoding)
        name = _CODECS.get(plain, plain.replace("WIN", "cp") if plain.startswith("WIN") else plain)
        try:
            return codecs.lookup(name).name
        except LookupError:
            raise UsageError(
                f"--encoding {self.encoding}: there is no such encoding",
                hint="COPY's names count: UTF8, LATIN1, WIN1252, SJIS, ...",
            ) from None

    def sql(self) -> str:
        """The list in parentheses that follows WITH."""
        parts = [f"FORMAT {self.format}"]
        if self.format == "binary":
            return f"({parts[0]})"
        parts += [
            f"{name.upper()} {literal(value)}"
            for name in ("delimiter", "null", "quote", "escape", "default")
            if (value := getattr(self, name)) is not None
        ]
        parts += [
            f"{name.upper()} ({', '.join(map(identifier, columns))})"
            for name in ("force_null", "force_not_null")
            if (columns := getattr(self, name))
        ]
        parts.append(f"ENCODING {literal(self.encoding or 'UTF8')}")
        return f"({', '.join(parts)})"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        value: dict[str, Any] = to_builtins(self)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CopyOptions:
        """The inverse of `to_json`."""
        lists = {name: tuple(value[name]) for name in ("force_null", "force_not_null")}
        return cls(**{**value, **lists})


def _plain(encoding: str | None) -> str:
    """The name as PostgreSQL compares it: letters and digits in one case."""
    return "".join(one for one in (encoding or "UTF8").upper() if one.isalnum())
