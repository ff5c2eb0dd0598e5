"""The README's code and its two commands, with a real cluster."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from django_cluster.models import Schedule
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import ROOT

README = (ROOT / "README.md").read_text()


def test_the_code_of_the_readme_works_as_it_is(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, calls = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^\$ python manage\.py ([^#\n]*?) *#", README, re.MULTILINE)
    project = make_project(workers=1)
    shop = project.folder / "shop"
    shop.mkdir()
    (shop / "tasks.py").write_text(tasks)
    monkeypatch.syspath_prepend(str(project.folder))
    assert commands == ["migrate", "qcluster"]

    call_command(commands[0], verbosity=0)
    project.start(environment={"PYTHONPATH": os.pathsep.join([str(project.folder), str(ROOT)])})
    names: dict[str, Any] = {}
    exec(calls.replace("timeout=2", "timeout=60"), names)

    assert names["handle"].result() == "receipt 7"
    packed = [f"order {order} is packed" for order in (1, 2, 3, 5, 8, 9)]
    results = [row.result for row in project.wait_for_rows(8)]
    assert sorted(results) == [*packed, "receipt 7", "receipt 8"]
    assert results.index("order 8 is packed") < results.index("receipt 8")
    assert project.broker().size().delayed == 1
    assert Schedule.objects.get().name == "daily"


def test_the_pictures_of_the_readme_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)

    assert len(pictures) == 2
    assert [each for each in pictures if not Path(ROOT, each).exists()] == []
