"""A reporter that sends nothing before it has to."""

from __future__ import annotations

from pathlib import Path

from django_cluster.reporters.base import FailedRun


class LazyReporter:
    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._waiting: list[str] = []

    def report_run(self, run: FailedRun) -> None:
        self._waiting.append(f"{run.func} {run.kind}")

    def flush(self, seconds: float) -> None:
        with self._path.open("a") as file:
            file.writelines(f"{each}\n" for each in self._waiting)
