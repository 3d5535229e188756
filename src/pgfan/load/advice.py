"""What to do about a row that COPY refused, guessed from the error and the value that it names.

For errors behind which there is more often a wrong option than a wrong row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfan.errors import DatabaseError
    from pgfan.load.copy_options import CopyOptions

CHARACTER_NOT_IN_REPERTOIRE = "22021"
DELIMITERS = {";": "';'", "\t": r"'\t'", "|": "'|'"}
"""What else is between fields, beside the comma, and how the shell wants it."""
UTF16 = "iconv -f UTF-16 -t UTF-8 makes it readable (UTF-16LE where it has no byte order mark)"
_DECIMAL_COMMA = re.compile(r"\s*[-+]?(\d+|\d{1,3}([. ]\d{3})+),\d+\s*")


def other_delimiter(text: str, options: CopyOptions) -> str | None:
    """The option for a delimiter that a text has and the file is not read with."""
    for one, shown in DELIMITERS.items():
        if one in text and one != options.delimiter_character:
            return f"--delimiter {shown}"
    return None


def advice_for(error: DatabaseError, value: str | None, options: CopyOptions) -> str | None:
    """What to do next; None where nothing is likelier than a bad row."""
    if error.sqlstate == CHARACTER_NOT_IN_REPERTOIRE:
        if error.message.endswith("0x00"):
            return f"PostgreSQL keeps no NUL characters; if the file is UTF-16, {UTF16}"
        return (
            f"if the file is not {options.encoding or 'UTF8'}, --encoding says what it is: "
            "LATIN1, WIN1252, ..."
        )
    if "DateStyle" in (error.hint or ""):
        return "with PGDATESTYLE=DMY in the environment 31/12/2020 is read, with MDY 12/31/2020"
    if value is None:
        return None
    if _DECIMAL_COMMA.fullmatch(value):
        return "numbers with a decimal comma go into a column of text, and are cast from there"
    found = other_delimiter(value, options)
    return found and f"{found}, if that is what is between the fields"
