"""Comparisons with what people use instead: the demo, and the benchmarks of the README.

Every way of doing the work (psql, the pool script, xargs, pgfan) runs as a command of its own, as a
user would start it, and is timed from outside. What runs here may use any part of pgfan, but no
part of pgfan may use it; and nothing here writes to the terminal: results are returned, progress
goes to a callback. What is compared and how is told in docs/demo.md and docs/bench.md.
"""
