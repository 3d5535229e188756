"""From what the command line names to a program: scripts in their order, or a folder of SQL.

Files are read here and nothing else is touched: no database is asked, so the same files make the
same program anywhere, and a run is found again by its statements. `pgfan.reading.paths` is the way
in.
"""
