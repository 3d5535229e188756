from __future__ import annotations

import psycopg


def test_each_server_answers(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
