"""Runs the quick checks beside each other, and says how long each took: ``python scripts/check.py lint types``.

A check that runs alone speaks as it goes; of several, each one's words come in one piece when it has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.in_memory import temporary_files_in_memory

CHECKS = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports", "--no-cache"]],
    "types": [["mypy"], ["basedpyright"]],
    "docs": [["sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html"]],
    "unit": [["pytest", "-q", "tests/unit", "--hypothesis-profile=quick"]],
    "format": [["ruff", "check", "--fix", "."], ["ruff", "format", "."]],
}
WORKERS = ["--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal"]


def run(name: str, arguments: list[str], variables: Mapping[str, str], *, alone: bool) -> tuple[bool, str]:
    """Whether every command of this check succeeds, and what they said unless it was shown already."""
    begun, said, well = time.monotonic(), [], True
    for command in CHECKS[name]:
        whole = [*command, *(WORKERS if name == "unit" else []), *arguments]
        done = subprocess.run(
            whole,
            check=False,
            text=True,
            env={**os.environ, **variables},
            stdout=None if alone else subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        well &= done.returncode == 0
        said.append(done.stdout or "")
    words = "passed" if well else "FAILED"
    return well, f"{''.join(said)}--- {name}: {words} in {time.monotonic() - begun:.0f} s ---"


def main() -> int:
    names = [name for name in sys.argv[1:] if name in CHECKS]
    arguments = [word for word in sys.argv[1:] if word not in CHECKS]
    if not names or (arguments and len(names) > 1):
        sys.exit(f"usage: check.py [{'|'.join(CHECKS)}]..., or one of them and its arguments")
    well = True
    with temporary_files_in_memory() as in_memory, ThreadPoolExecutor(len(names)) as threads:
        running = [threads.submit(run, name, arguments, in_memory, alone=len(names) == 1) for name in names]
        for each in as_completed(running):
            passed, words = each.result()
            well &= passed
            print(words, flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
