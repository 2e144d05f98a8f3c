"""What a framework says while it is imported is not heard; what it raises is."""

import subprocess
import sys


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_nothing_is_heard_while_it_is_imported(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import os, sys; os.write(2, b'from C'); print('from Python', file=sys.stderr)"
    )
    done = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from extract.quiet import quiet_import\n"
        "assert quiet_import('loud') is quiet_import('loud') is sys.modules['loud']\n"
        "print('afterwards', file=sys.stderr)"
    )

    assert (done.returncode, done.stderr) == (0, "afterwards\n")


def test_errors_are_told(tmp_path):
    done = run("from extract.quiet import quiet_import; quiet_import('no_such_module')")

    assert done.stderr.strip().endswith("No module named 'no_such_module'")
