"""Pure decisions: what is left, how big the next chunk is, who runs it.

The standard library and structs of msgspec only; values in, values out. No SQL, no connection,
no clock: time comes in as numbers, so that the whole scheduler runs under test in milliseconds.
"""
