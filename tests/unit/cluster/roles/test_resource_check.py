"""What a process must have left for its next task. Each case is a process of its own: limits cannot be raised again."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import mmap, os, resource
from django_cluster.cluster.roles.resource_check import ResourceCheck
"""
CASES = {
    "all is there": """
capacity = ResourceCheck(os.pipe()[0])
assert capacity.shortage(failed=True) == "", capacity.shortage(failed=True)
""",
    "no descriptor": """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
capacity = ResourceCheck(os.pipe()[0])
assert not capacity.lacks_descriptors()
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    pass
assert capacity.shortage(failed=False) == "file descriptors"
""",
    "hardly a descriptor": """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
capacity = ResourceCheck(os.pipe()[0])
while os.open(os.devnull, os.O_RDONLY) < 61:
    pass
assert capacity.lacks_descriptors()
""",
    "a limit that a task has lowered": """
capacity = ResourceCheck(os.pipe()[0])
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 64))
assert capacity.lacks_descriptors()
""",
    "no memory": """
capacity = ResourceCheck(os.pipe()[0])
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
assert capacity.shortage(failed=False) == "memory"
""",
    "a closed descriptor is no shortage": """
capacity = ResourceCheck(os.pipe()[0])
os.closerange(3, 20)
assert not capacity.lacks_descriptors()
""",
    "no thread": """
import threading
capacity = ResourceCheck(os.pipe()[0])
def refuse(*_): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
assert capacity.shortage(failed=False) == "", "tried only where there is a reason"
assert capacity.shortage(failed=True) == "threads"
""",
}


@pytest.mark.parametrize("name", CASES)
def test_a_process_knows_what_it_lacks(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN + CASES[name]], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
