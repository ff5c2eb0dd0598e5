"""The task: an ordinary function, which a worker of the cluster calls."""

from __future__ import annotations

from pathlib import Path

from example.census.analysis import Findings, analyse


def measure(folder: str, path: str) -> Findings:
    """Reads one file. What it returns is saved; what it raises is saved too, as the reason of the failure."""
    return analyse((Path(folder) / path).read_bytes(), path)
