"""The program of docs/distributed.md runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.distributed.cluster import Cluster
from tests.support import HANG, ROOT


def test_the_program_of_the_docs(pair: Cluster, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "distributed.md").read_text(), re.DOTALL)
    script = tmp_path / "program.py"
    script.write_text(code)
    environment = os.environ | {"DASK_SCHEDULER_ADDRESS": pair.address, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=HANG)
    assert (done.stdout, done.stderr, done.returncode) == ("285\n", "", 0)
