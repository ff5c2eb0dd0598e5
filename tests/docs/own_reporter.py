"""The example of docs/how-to/report-errors.md, which shows the part between the two marks."""

from __future__ import annotations

# example begins
import json

from django_cluster.reporters.base import FailedRun


class FileReporter:
    """Writes a line for each failed run."""

    only_final = False

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  for as long as the process lives

    def report_run(self, run: FailedRun) -> None:
        line = {"error": run.kind, "says": run.message, **run.facts()}
        self._file.write(json.dumps(line) + "\n")

    def flush(self, seconds: float) -> None:
        self._file.flush()


# example ends
