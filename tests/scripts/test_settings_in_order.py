"""SET is in force for what follows it, and for nothing before it, whatever ran first."""

from __future__ import annotations

import psycopg
import pytest
from scripts_alike import by_pgfan

LATER = {
    "set": "SET work_mem = '9MB';",
    "set_config": "SELECT set_config('work_mem', '9MB', false);",
    "a block": "BEGIN; SET work_mem = '9MB'; COMMIT;",
}


@pytest.mark.parametrize("later", LATER.values(), ids=list(LATER))
def test_what_ran_before_its_turn_leaves_nothing_to_earlier_statements(
    dsn18: str, later: str
) -> None:
    script = f"""
        CREATE TABLE slow AS SELECT 1 AS i FROM pg_sleep(0.2);
        CREATE TABLE early AS SELECT current_setting('work_mem') AS found FROM slow;
        CREATE TABLE also AS SELECT current_setting('work_mem') AS found FROM slow;
        {later}
        CREATE TABLE late AS SELECT current_setting('work_mem') AS found FROM slow;
        """
    assert by_pgfan(dsn18, script, jobs=2).ok
    with psycopg.connect(dsn18) as connection:
        rows = connection.execute(
            "SELECT current_setting('work_mem') UNION ALL TABLE early UNION ALL TABLE also "
            "UNION ALL TABLE late"
        ).fetchall()
    default, early, also, late = (row[0] for row in rows)
    assert (early, also, late) == (default, default, "9MB")
