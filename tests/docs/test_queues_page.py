"""The settings of docs/how-to/queues.md, choose-a-broker.md and retention.md mean what the pages say."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from django_cluster.conf import load_cluster, try_load_settings
from django_cluster.models import Task

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def examples(page: str) -> list[dict[str, Any]]:
    """Each ``Q_CLUSTER`` that the page shows."""
    found = []
    for block in re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL):
        if block.startswith("Q_CLUSTER"):
            names: dict[str, Any] = {}
            exec(block, names)
            found.append(names["Q_CLUSTER"])
    assert found
    return found


@pytest.mark.parametrize("page", ["queues.md", "choose-a-broker.md", "retention.md"])
def test_every_example_can_be_used(page: str, settings: Any) -> None:
    for example in examples(page):
        settings.Q_CLUSTER = example
        assert [each.sentence for each in try_load_settings().problems if each.is_error] == []


def test_each_queue_of_a_cluster_has_its_own_limits_and_the_processes_of_the_root(settings: Any) -> None:
    settings.Q_CLUSTER = examples("queues.md")[0]

    loaded = load_cluster(["mail:5", "long"])

    assert (loaded.name, loaded.processes.workers) == ("shop", 4)
    assert [(share.queue, share.weight, share.timeout) for share in loaded.queue_settings] == [
        ("mail", 5, 30.0),
        ("long", 1, 3600.0),
    ]
    assert [share.delivery.max_attempts for share in loaded.queue_settings] == [0, 2]
    assert [share.delivery.retry_delay for share in loaded.queue_settings] == [300.0, 60.0]
    assert load_cluster(["*"]).queues == ("shop", "long", "mail")
    assert load_cluster(["long"]).processes.workers == 1


def test_a_variable_that_names_several_queues_means_the_first_to_those_who_send(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_cluster.conf import load_settings

    settings.Q_CLUSTER = examples("queues.md")[0]
    monkeypatch.setenv("Q_CLUSTER_NAME", "mail:5,long")

    assert load_cluster().queues == ("mail", "long")
    assert load_settings().queue == "mail"


def test_a_cluster_may_choose_among_brokers_by_name(settings: Any) -> None:
    settings.Q_CLUSTER = next(each for each in examples("choose-a-broker.md") if "brokers" in each)

    assert load_cluster().broker.kind == "redis"
    assert load_cluster([], "audit").broker.lease == 300
    assert load_cluster(["books"]).broker.alias == "audit"
    with pytest.raises(ValueError, match="no broker named 'nowhere'"):
        load_cluster([], "nowhere")


@pytest.mark.django_db
def test_the_commands_of_the_page_of_retention_delete_what_they_say(settings: Any, capsys: Any) -> None:
    settings.Q_CLUSTER = examples("retention.md")[0]
    commands = re.findall(
        r"^\$ python manage\.py (qprune [^#\n]*)", (HOW_TO / "retention.md").read_text(), re.MULTILINE
    )
    ended = {"old": ("success", 100), "failed": ("timeout", 10), "week": ("success", 8), "new": ("success", 1)}
    for name, (status, days) in ended.items():
        keep(name, status, days)

    left = []
    for command in commands:
        call_command(*command.split())
        left.append(sorted(Task.objects.values_list("name", flat=True)))

    assert left == [["failed", "new", "old", "week"], ["failed", "new", "week"], ["new"]]


def keep(name: str, status: str, days: int) -> None:
    """A row of a task that ended so many days ago."""
    moment = timezone.now() - timedelta(days=days)
    moments = {"enqueued_at": moment, "started_at": moment, "stopped_at": moment}
    Task.objects.create(id=name, name=name, func="f", status=status, success=status == "success", final=True, **moments)
