r"""psql's meta-commands by name: which mean nothing here, and which are refused, and why.

Those that do something are in `pgfan.sql.psql_script`. See "Meta-Commands" in psql's manual.
"""

from __future__ import annotations

_ALONE = frozenset({"p", "timing", "pset", "x", "a", "t", "f", "C", "H", "T", "restrict"})
IGNORED = _ALONE | {"unrestrict", "errverbose", "warn", "html", "encoding", "set", "unset"}
"""How psql shows things, and pg_dump's guards: nothing of it changes what a script does."""
INCLUDES = frozenset({"i", "include", "ir", "include_relative"})
WITHOUT_EFFECT = frozenset({"AUTOCOMMIT", "ON_ERROR_ROLLBACK", "SINGLELINE"})
"""Variables that change how psql runs what follows; a script that sets them means it."""
REFUSED = {
    "!": "it runs a command of the shell",
    "gset": "what follows would depend on a result, and a script is read before it runs",
    "connect": "a run is in one database",
    "c": "a run is in one database",
    "o": "results go to standard output",
    "w": "it writes a file",
    "watch": "a script ends",
    "prompt": "nobody is there to answer",
    "getenv": "a script does not see the environment",
    "setenv": "a script does not see the environment",
    "cd": "names of files stay what they are",
    "bind": "statements have no parameters here",
    "startpipeline": "pgfan decides itself what runs at once",
    "password": "it asks for a password",
}
