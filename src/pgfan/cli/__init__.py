"""The command line: one file per command, whose docstring is its help.

Here are options, terminals and exit codes, and nothing else: everything a command does, it does
through `pgfan.api`. Imports are inside functions where they cost time: `pgfan --help` stays fast.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

PURPOSE = (
    "Run PostgreSQL's heavy statements over many connections: same result as one connection,\n"
    "exactly once, never slower."
)
GARBAGE_THRESHOLD = 100_000
"""Objects made and not freed before the next search for garbage; start-up makes about as many."""
COMMANDS = {
    "exec": "Run statements, each split over many connections where that is safe and worth it.",
    "run": "Run psql scripts out of order, with the result of in order.",
    "load": "Load files into a table over many connections, as fast as COPY can go.",
    "unload": "Write the rows of a query or a table to files, over many connections.",
    "plan": "Show what would become of each statement; run nothing.",
    "resume": "Go on with an unfinished run.",
    "jobs": "Change the number of workers of a run while it goes on.",
    "status": "List the runs in the journal.",
    "forget": "Drop journal rows of old runs, or the journal.",
    "verify": "Run statements serially and split into scratch tables, and compare the rows.",
    "demo": "The pool script's example, end to end, on the packaged server.",
    "bench": "The reproducible comparisons of the README.",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given in ([], ["--help"], ["-h"]):
        # Half of the time of `pgfan --help` would be the libraries that parse everything else.
        sys.stdout.write(usage())
        return 0
    from cyclopts import CycloptsError

    from pgfan.errors import EXIT_INTERRUPTED, EXIT_USAGE, PgfanError

    app = build()
    try:
        code = app(
            given,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        sys.stderr.write(f"error: {error}\nHINT: pgfan --help lists commands and options\n")
        return EXIT_USAGE
    except PgfanError as error:
        from pgfan.cli.running import show_error

        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone; what is done is done and in the journal.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def run() -> None:
    """The console script. Leaves without taking the interpreter apart, which would cost 50 ms.

    Everything that must end in order has ended: servers, files and sessions are contexts.
    """
    # What start-up imports stays: searching it for garbage over and over takes a tenth of the
    # time until the first statement. Later garbage is collected all the same, in larger heaps.
    gc.set_threshold(GARBAGE_THRESHOLD)
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def usage() -> str:
    """The help of the program as a whole."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    return (
        f"Usage: pgfan COMMAND [OPTIONS]\n\n{PURPOSE}\n\nCommands:\n{commands}\n\n"
        "pgfan COMMAND --help tells a command's options; pgfan --version the version.\n"
    )


def shown_default(value: object) -> str | None:
    """A default as the help shows it; nothing for options that are off or empty."""
    return str(value) if value not in (None, False, "", ()) else None


def build() -> App:
    """The command line as a cyclopts App; commands are imported when they are called."""
    from cyclopts import App, Parameter

    from pgfan import __version__

    app = App(
        name="pgfan",
        version=__version__,
        help=PURPOSE,
        default_parameter=Parameter(show_default=shown_default),
    )
    for name, text in COMMANDS.items():
        module = f"pgfan.cli.{name}_command"
        app.command(f"{module}:{name}_", name=name, help=text)
    return app
