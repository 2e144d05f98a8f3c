"""A script that uses Keras, with the time of its work apart from that of imports.

    python -m benchmarks.clocked SCRIPT WORDS...

Keras and what scripts take of scikit-learn are imported first. What the script prints is kept, and
its last line, a JSON object, is printed again with `work_seconds` added.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import time


def main(script: str, words: list[str]) -> None:
    """Run the script as `python SCRIPT WORDS` would."""
    import keras  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    printed = io.StringIO()
    sys.argv = [script, *words]
    start = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(script, run_name="__main__")
    facts = json.loads(printed.getvalue().strip().splitlines()[-1])
    print(json.dumps({**facts, "work_seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
