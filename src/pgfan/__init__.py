"""Run PostgreSQL's heavy statements over many connections.

    result = pgfan.exec("dbname=build", "INSERT INTO big SELECT * FROM staging")
    result = pgfan.run("dbname=build", "warehouse/")

The public names are here and in `pgfan.api`; everything else may move between versions. `plan`,
`load` and `unload` are in `pgfan.api` alone, since packages have these names here. They are
imported when they are first used, so that `pgfan --help` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgfan.api import (
        ExecOptions,
        Publish,
        Source,
        change_jobs,
        exec,  # noqa: A004
        forget,
        resume,
        run,
        status,
    )

__version__ = "0.1.0.dev0"
__all__ = [
    "ExecOptions",
    "Publish",
    "Source",
    "change_jobs",
    "exec",
    "forget",
    "resume",
    "run",
    "status",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'pgfan' has no attribute {name!r}")
    from pgfan import api

    return getattr(api, name)
