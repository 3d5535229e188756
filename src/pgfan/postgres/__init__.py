"""The only place that talks to PostgreSQL: sessions, catalogue, journal, and the packaged server.

Nothing outside this folder imports psycopg. No decision about splitting or sizing is made here.
"""
