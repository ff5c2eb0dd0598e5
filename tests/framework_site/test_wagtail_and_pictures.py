"""Wagtail and django-pictures on our backend: they send, and a plain cluster does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.running_cluster import ROOT
from tests.tasks_framework import OWN

pytestmark = pytest.mark.timeout(300)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a module of Python on the site, whose database is migrated."""
    pytest.importorskip("wagtail", reason="the packages are installed in the tox environment 'site' only")
    pytest.importorskip("pictures", reason="the packages are installed in the tox environment 'site' only")
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.framework_site.settings", "SITE_FOLDER": str(folder)}
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    run("django", "migrate", "--verbosity", "0")
    return run


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not OWN, reason="django-pictures sends by django.tasks, which Django has from 6.0 on")
def test_wagtail_and_pictures_have_their_tasks_done_by_a_plain_cluster(run: Run) -> None:
    before = report_of(run("tests.framework_site.program", "edit"))
    assert before == {"references": 0, "document": True, "photo": True, "copies": []}

    cluster = run("django", "qcluster", "--until-empty")

    after = report_of(run("tests.framework_site.program", "report"))
    assert after["references"] == 1, cluster.stderr
    assert not after["document"], cluster.stderr
    assert after["copies"], cluster.stderr
    assert set(after["copies"]) == {".webp"}


def test_the_checks_of_the_site_pass(run: Run) -> None:
    assert "no issues" in run("django", "check").stdout
