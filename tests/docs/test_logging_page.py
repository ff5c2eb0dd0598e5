"""The examples of the page on logging work as they are written."""

from __future__ import annotations

import json
import logging
import os
import re
from io import StringIO
from typing import Any

import pytest
from django.utils.module_loading import import_string

from django_cluster.core.events import EVENTS
from django_cluster.core.events.processes import WORKER_LOST
from django_cluster.core.settings.table import BY_KEY
from tests.docs.test_queues_page import HOW_TO

PAGE = "logging.md"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The configuration of the page; its handler writes here."""
    blocks = re.findall(r"```python\n(.*?)```", (HOW_TO / PAGE).read_text(), re.DOTALL)
    (configuration,) = [code for code in blocks if "JsonFormatter" in code]
    namespace: dict[str, Any] = {}
    exec(configuration, namespace)
    (settings,) = namespace["LOGGING"]["handlers"].values()
    assert settings["formatter"] == "json"
    handler = logging.StreamHandler(stream := StringIO())
    handler.setFormatter(import_string(namespace["LOGGING"]["formatters"]["json"]["()"])())
    logger = logging.getLogger("django_cluster")
    monkeypatch.setattr(logger, "handlers", [handler])
    return stream


def test_the_json_formatter_writes_the_line_of_the_page(configured: StringIO) -> None:
    WORKER_LOST.log(process_name="worker 3", pid=812, reason="killed by signal 9", exit_code=-9)

    written = json.loads(configured.getvalue())
    (shown,) = re.findall(r"```json\n(.*)\n```", (HOW_TO / PAGE).read_text())
    expected = json.loads(shown)
    assert written.pop("time")
    assert expected.pop("time")
    assert written.pop("process") == os.getpid()
    assert expected.pop("process")
    assert written == expected


def test_the_events_to_alert_on_exist() -> None:
    page = (HOW_TO / PAGE).read_text()
    alerts = page[page.index("## What to alert on") :]
    named = [
        key
        for line in alerts.splitlines()
        if line.startswith("| `")
        for key in re.findall(r"`(\w+)`", line.split("|")[1])
    ]

    assert named
    assert set(named) - {"final"} <= set(EVENTS)


@pytest.mark.parametrize("page", ["troubleshooting.md", "deploy.md", "monitor.md"])
def test_events_that_other_pages_name_exist(page: str) -> None:
    """Events are named in the last column of tables, and where a text says that they are one."""
    text = (HOW_TO / page).read_text()
    rows = [line.rstrip("| ").rpartition("|")[2] for line in text.splitlines() if line.startswith("| ")]
    named = {key for cell in rows for key in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", cell)}
    known = {key for keys in (EVENTS, BY_KEY) for key in keys}

    assert named <= known | {"error_message"}, "no event and no setting"
