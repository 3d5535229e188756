"""Text to meaning: what a statement is, what it touches, whether it may be split, and how.

Only postgast (PostgreSQL 18's own grammar) is used here. No database, no clock, no I/O: what the
catalogue knows arrives as frozen facts. Every answer is a value that a test can write down.
"""
