"""Run PostgreSQL's heavy statements over many connections.

The public names are here; everything else may move between versions.
"""

__version__ = "0.1.0.dev0"
