"""The worked example of docs/how-to/moving-from-django-q.md: a shop moves, with all that it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.e2e.running_cluster import PATIENCE, ROOT, RunningCluster

pytest.importorskip("django_q")

MOVING = ROOT / "tests" / "docs" / "moving"


class Shop:
    """The project, at one of its three stages; the database and the notes stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage: tuple[str, ...] = ("before",)
        self.clusters: list[RunningCluster] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*(str(MOVING / each) for each in self.stage), str(ROOT)]),
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "SHOP_DATABASE": str(self.folder / "shop.sqlite3"),
            "SHOP_NOTES": str(self.folder / "notes"),
        }

    def notes(self) -> list[str]:
        notes = self.folder / "notes"
        return notes.read_text().splitlines() if notes.exists() else []

    def manage(self, *arguments: str) -> str:
        return self._python("-m", "django", *arguments)

    def do(self, code: str) -> str:
        return self._python("-c", f"import django; django.setup(); from shop.tasks import *; {code}")

    def _python(self, *arguments: str) -> str:
        command = [sys.executable, "-W", "ignore", *arguments]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def start(self) -> RunningCluster:
        command = [sys.executable, "-m", "django", "qcluster"]
        self.clusters.append(RunningCluster(command, self.environment, self.folder / "log", "shop"))
        return self.clusters[-1].wait_ready()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    shop.manage("migrate", "--verbosity", "0")
    shop.do("place_order(1); place_order(2); set_up_reports()")
    yield shop
    complaints = [complaint for cluster in shop.clusters for complaint in cluster.dismantle()]
    assert not complaints, "; ".join(complaints)


@pytest.mark.parametrize("stage", [("between", "before"), ("after",)], ids=["app django_q", "new imports"])
def test_a_shop_moves_and_loses_nothing(shop: Shop, stage: tuple[str, ...]) -> None:
    shop.stage = stage
    shop.manage("migrate", "--verbosity", "0")
    said = shop.manage("qimport", "django_q")
    # With the app, the migration has copied the schedule.
    moved, here = (0, 1) if "between" in stage else (1, 0)
    assert re.search(rf"^Schedules +{moved} +{here} +0$", said, re.MULTILINE)
    assert re.search(r"^Queue +2 +0 +0$", said, re.MULTILINE)
    shop.do("place_order(3)")

    cluster = shop.start()

    expected = {"the report is made", *(f"invoice {number} was sent: True" for number in (1, 2, 3))}
    wait_until(lambda: expected <= set(shop.notes()), PATIENCE, f"all should have been done, not {shop.notes()}")
    assert cluster.stop() == 0
    assert len(shop.notes()) == len(expected)


def test_the_check_says_what_means_something_else(shop: Shop) -> None:
    shop.stage = ("between", "before")

    assert set(re.findall(r"django_cluster\.\w+", shop.manage("check"))) <= {"django_cluster.W013"}  # its SQLite

    said = shop.manage("check", "--deploy", "--tag", "django_q")

    assert "retry is not quite Django-Q's." in said
    assert "no issues" not in said
    assert "ERROR" not in said
