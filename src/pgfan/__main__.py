"""`python -m pgfan` is the console script.

Nothing else belongs here.
"""

from pgfan.cli import run

run()
