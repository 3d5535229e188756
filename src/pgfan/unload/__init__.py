"""Rows to files: the folder of an unload, its files, and what they are written as.

Nothing here knows a database: the rows come as the messages of a COPY ... TO STDOUT.
"""
