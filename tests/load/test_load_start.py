"""What a load imports before its first row: CPU time that no second core takes over."""

from __future__ import annotations

import subprocess
import sys


def test_a_load_reads_neither_the_grammar_nor_what_other_formats_need() -> None:
    heavy = ["postgast", "google.protobuf", "numpy", "pyarrow", "obstore", "pyogrio"]
    asked = f"import sys, pgfan.loader; print(*[one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)
    assert done.stdout.split() == []
