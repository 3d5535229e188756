"""`python -m pgfan` is the console script.

Nothing else belongs here.
"""

import sys

from pgfan.cli import main

sys.exit(main())
