"""Programs that these tests run."""

import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def tool(name):
    ours = PROJECT / ".tools/bin" / name
    return str(ours) if ours.exists() else name


def promtool(*arguments):
    """Runs promtool in prometheus/; what it says, where it is not content."""
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, cwd=PROJECT / "prometheus", env=os.environ
    )
    return None if done.returncode == 0 else done.stdout + done.stderr
