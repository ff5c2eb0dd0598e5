"""What docs/how-to/task-objects.md shows works as it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from django_cluster import TaskHandle, TaskStatus
from django_cluster.brokers import memory
from django_cluster.core.option_synonyms import SYNONYMS
from django_cluster.task_objects.function import OF_ONE_TASK, TaskFunction
from django_cluster.testing.drain import drain

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "task-objects.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of a module ``shop.tasks``, after the first example."""
    settings.Q_CLUSTER = {"name": "shop", "broker": "memory", "on_commit": False, "ALT_CLUSTERS": {"mail": {}}}
    memory.reset()
    module = ModuleType("shop.tasks")
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.tasks", module)
    exec(BLOCKS[0], vars(module))
    return vars(module)


def test_the_object_is_called_and_sent(shop: dict[str, Any]) -> None:
    send, wait = BLOCKS[1].rsplit("\n", 2)[0], BLOCKS[1].strip().rsplit("\n", 1)[1]
    exec(send, shop)
    drain()

    assert eval(wait.partition("#")[0], shop) == 3
    assert shop["send_welcome"].options["queue"] == "mail"


def test_using_makes_a_copy_for_some_calls(shop: dict[str, Any]) -> None:
    exec(BLOCKS[2], shop)

    assert shop["urgent"].options == {"priority": 10, "delay": 60}
    assert shop["add"].options == {}


def test_a_function_is_given_its_context(shop: dict[str, Any]) -> None:
    exec(BLOCKS[3], shop)
    handle = shop["import_orders"].delay("Monday")
    drain()

    assert handle.result(timeout=0) == "Monday, attempt 1"


def test_the_page_names_what_there_is() -> None:
    verbs = re.findall(r"`(?:await )?(?:handle)?\.(\w+)", PAGE)
    synonyms = re.findall(r"`(\w+)`", PAGE.split("Names that other")[1].split("An option that")[0])

    assert [name for name in verbs if not hasattr(TaskFunction, name) and not hasattr(TaskHandle, name)] == []
    assert [name for name in synonyms if name not in SYNONYMS] == []
    assert all(f"`{status}`" in PAGE for status in TaskStatus)
    assert all(f"`{name}`" in PAGE for name in OF_ONE_TASK - {"iter_cached", "iter_count"})
