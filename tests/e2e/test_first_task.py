"""docs/tutorial/first-task.md, followed word by word: a new project, its code, its commands, its shell, its log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running_cluster import ROOT, RunningCluster

pytestmark = pytest.mark.timeout(300)

PAGE = (ROOT / "docs" / "tutorial" / "first-task.md").read_text()
RUN_EXAMPLES = """
import doctest, sys
names = {}
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
test = doctest.DocTestParser().get_doctest(open(sys.argv[-1]).read(), names, "the page", None, 0)
sys.exit(bool(runner.run(test).failed))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def without_numbers(log: str) -> str:
    """A log in which moments, processes, counts and the names of tasks are always the same."""
    return re.sub(r"\d+", "1", re.sub(r"\b[a-z]+-[a-z]+-[a-z]+-[a-z]+\b", "name", log))


class Reader:
    """Somebody who follows the page, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clusters: list[RunningCluster] = []
        kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self.environment = {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [sys.executable, *command], env=self.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def write_settings(self) -> None:
        apps, databases = (each for each in blocks("python") if each.isupper() or re.match(r"[A-Z_]+ = ", each))
        named = re.findall(r'^ +("\w+"),$', apps, re.MULTILINE)
        file = self.folder / "mysite" / "settings.py"
        file.write_text(f"{file.read_text()}\nINSTALLED_APPS = [{', '.join(named)}, *INSTALLED_APPS]\n{databases}")

    def start(self) -> RunningCluster:
        log = self.folder / f"log-{len(self.clusters)}"
        command = [sys.executable, str(self.folder / "manage.py"), "qcluster"]
        cluster = RunningCluster(command, self.environment, log, "default")
        self.clusters.append(cluster)
        cluster.wait_ready()
        return cluster

    def type(self, *examples: str) -> None:
        """Type into the shell, and compare what it answers with the page."""
        text = "\n".join(examples).replace("wait=2000", "wait=60000")
        file = self.folder / "examples.txt"
        file.write_text(re.sub(r"'[a-z]+-[a-z]+-[a-z]+-[a-z]+'", "'...'", text))
        self.run("-c", f"import django; django.setup()\n{RUN_EXAMPLES}", str(file))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    assert [complaint for cluster in reader.clusters for complaint in cluster.dismantle()] == []


def test_the_tutorial_can_be_followed(reader: Reader) -> None:
    reader.run("-m", "django", "startproject", "mysite", ".")
    reader.run("manage.py", "startapp", "words")
    reader.write_settings()
    (reader.folder / "words" / "tasks.py").write_text(next(each for each in blocks("python") if "def " in each))
    reader.environment["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    reader.environment["PYTHONPATH"] = os.pathsep.join([str(reader.folder), str(ROOT)])
    reader.run("manage.py", "migrate", "--verbosity=0")
    one, read, failure, send, many = blocks("pycon")

    first = reader.start()
    reader.type(one, read, failure)
    assert first.stop() == 0
    reader.type(send)
    reader.start()
    reader.type(
        ">>> from django_cluster import queue_size, result_group\n"
        ">>> len(result_group('counting', count=100, wait=60000))\n100\n", many
    )  # fmt: skip

    log = without_numbers(first.logs)
    shown = [line for line in PAGE.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(shown) >= 4
    assert [line for line in shown if without_numbers(line) not in log] == []
