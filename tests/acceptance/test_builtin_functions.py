"""PostgreSQL's own functions: what the analysis says of each that is volatile, on real servers."""

from __future__ import annotations

import psycopg

from pgfan.sql import builtin_functions as builtin

VALUES_OF_THEIR_OWN = {
    *("array_sample", "array_shuffle", "clock_timestamp", "gen_random_uuid", "random"),
    *("random_normal", "timeofday", "uuidv4", "uuidv7", "current_query"),
}
HAVE_RULES = {
    *builtin.SEQUENCE,
    *builtin.SEQUENCE_VALUE,
    *builtin.ADVISORY_LOCKS,
    *builtin.HARMLESS,
    *("set_config", "setseed", "pg_notify"),
}
CALLED_BY_THE_SERVER = {
    *("bernoulli", "system", "plpgsql_call_handler", "plpgsql_inline_handler"),
    *("plpgsql_validator", "dsnowball_init", "dsnowball_lexize"),
}
"""Methods of TABLESAMPLE, languages and dictionaries: not to be called by SQL."""
VOLATILE = """
SELECT DISTINCT proname::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' AND prokind = 'f'
AND NOT prorettype = ANY ('{trigger,event_trigger,index_am_handler,table_am_handler}'::regtype[])
"""


def test_each_volatile_function_has_a_rule_or_is_a_barrier(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        names = {name for (name,) in connection.execute(VOLATILE)}
    free = {name for name in names if builtin.function_barrier(name) is None}
    assert free <= VALUES_OF_THEIR_OWN | HAVE_RULES | CALLED_BY_THE_SERVER
    assert {"nextval", "random", "pg_advisory_lock"} <= names


def test_what_acts_on_the_server_is_opaque() -> None:
    for name in ("pg_terminate_backend", "lo_import", "pg_stat_reset", "pg_of_a_later_release"):
        barrier = builtin.function_barrier(name)
        assert barrier is not None, name
        assert barrier.opaque, name
