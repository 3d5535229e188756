"""Run PostgreSQL's heavy statements over many connections."""

__version__ = "0.1.0.dev0"
