"""CPU time of commands: of their children too, whoever waits for them."""

import subprocess
import sys

import pytest

from benchmarks import _spending
from benchmarks._spending import spending

BUSY = "import time\nwhile time.process_time() < 0.8: pass"
PARENT = "import signal, subprocess, sys\n{first}\nsubprocess.Popen([sys.executable, '-c', {busy!r}]).wait()"


@pytest.mark.parametrize("first", ["", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"])
def test_the_cpu_time_of_grandchildren_counts(monkeypatch, first):
    """A parent that ignores its children's ends, as Ray's daemon does, takes their time out of the books."""
    monkeypatch.setattr(_spending, "INTERVAL_S", 0.1)
    # This process has children of its own, which would be waited for.
    monkeypatch.setattr(_spending, "PATIENCE_S", 0.5)
    with spending() as spent:
        code = PARENT.format(first=first, busy=BUSY)
        subprocess.run([sys.executable, "-c", code], check=True)
    assert spent.cpu_s > 0.4
