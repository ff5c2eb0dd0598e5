"""The example of docs/how-to/report-errors.md, which shows the part between the two marks."""

from __future__ import annotations

# example begins
import json
from pathlib import Path

from django_cluster.reporters.base import FailedRun


class FileReporter:
    """Writes a line for each failed run."""

    only_final = False

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def report_run(self, run: FailedRun) -> None:
        line = {"error": run.kind, "says": run.message, **run.facts()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


# example ends
