"""The variables of a script, as psql's rules read them.

psql sets some itself, by the connection, the last statement or its own state. A script is read
before it runs, so they have no value here, and a script that looks at one would silently be another
than psql's: it is refused. One that sets such a variable itself may read it. See "Variables" in
psql's manual.
"""

from __future__ import annotations

from pgfan.sql.psql_arguments import ArgumentError

OWN = frozenset(
    {
        *("AUTOCOMMIT", "COMP_KEYWORD_CASE", "DBNAME", "ECHO", "ECHO_HIDDEN", "ENCODING", "ERROR"),
        *("FETCH_COUNT", "HIDE_TABLEAM", "HIDE_TOAST_COMPRESSION", "HISTCONTROL", "HISTSIZE"),
        *("HOST", "IGNOREEOF", "LAST_ERROR_MESSAGE", "LAST_ERROR_SQLSTATE", "ON_ERROR_ROLLBACK"),
        *("ON_ERROR_STOP", "PIPELINE_COMMAND_COUNT", "PIPELINE_RESULT_COUNT", "PORT", "PROMPT1"),
        *("PIPELINE_SYNC_COUNT", "PROMPT2", "PROMPT3", "QUIET", "ROW_COUNT", "SERVER_VERSION_NAME"),
        *("SERVER_VERSION_NUM", "SERVICE", "SERVICEFILE", "SHELL_ERROR", "SHELL_EXIT_CODE"),
        *("SHOW_ALL_RESULTS", "SHOW_CONTEXT", "SINGLELINE", "SINGLESTEP", "SQLSTATE", "USER"),
        *("VERBOSITY", "VERSION", "VERSION_NAME", "VERSION_NUM", "WATCH_INTERVAL"),
    }
)
"""What psql has set before a script says anything, or sets with every statement."""


class PsqlVariables(dict[str, str]):
    """Names and values. Looking at one of psql's own that was not set raises ArgumentError."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value, or `default`."""
        return self[name] if name in self else default  # noqa: SIM401  # that would be this

    def __contains__(self, name: object) -> bool:
        """Whether it has been set."""
        if super().__contains__(name):
            return True
        if name in OWN:
            raise ArgumentError(f"{name} is a variable that psql sets itself: it has no value here")
        return False
