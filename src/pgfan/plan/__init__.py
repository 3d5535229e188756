"""Pure decisions: what is left, how big the next chunk is, who runs it.

Standard library only; values in, values out. No SQL, no connection, no clock: time comes in as
numbers, so that the whole scheduler runs under test in milliseconds.
"""
