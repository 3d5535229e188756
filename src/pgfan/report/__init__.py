"""Showing a run: the terminal view, plain lines, result tables, logs.

Everything here takes events or values and writes text. Nothing here decides or queries anything.
"""
