"""The reporter of docs/how-to/report-errors.md does what the page says."""

from __future__ import annotations

import json
from pathlib import Path

from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.lifecycle.error_reporting import ErrorReporters

PACKAGE = TaskPackage(header=TaskHeader(id="1" * 32, name="one", func="a.b", enqueued_at=1.0), args=("secret",))


def test_the_reporter_of_the_docs_writes_a_line_for_each_failure(tmp_path: Path) -> None:
    log = tmp_path / "failures.jsonl"
    reporters = ErrorReporters({"tests.docs.own_reporter.FileReporter": {"path": str(log)}}, queue="shop")

    reporters.report(ValueError("no luck"), PACKAGE, attempt=3)
    reporters.flush()

    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["error"], line["says"], line["attempt"], line["queue"]) == ("ValueError", "no luck", 3, "shop")
    assert "secret" not in log.read_text()
