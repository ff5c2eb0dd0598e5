"""Django's own tests of its Tasks framework, from the source distribution of the Django that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

from tests.e2e.running_cluster import ROOT
from tests.tasks_framework import OWN

pytestmark = [
    pytest.mark.timeout(600),  # the first run downloads Django
    pytest.mark.skipif(not OWN, reason="this Django has no tasks, and the backport ships no tests"),
]

LEAST = 50
"""Tests of Django 6.0 that can be pointed at our backend; later ones have more."""


def download(folder: Path) -> Path:
    """Have pip download Django's source distribution; skip the test where there is no index, except on CI."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django"]
    wanted = f"django=={django.get_version()}"
    done = subprocess.run([*command, "--dest", str(folder), wanted], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return next(folder.glob("*.tar.gz"))
    reason = f"pip cannot download {wanted}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def djangos_tests(tmp_path: Path) -> Path:
    """The folder with Django's package ``tasks`` and nothing else; kept beside the interpreter for the next run."""
    kept = Path(sys.prefix, "share", "django-tests", django.get_version())
    if not (kept / "tasks").is_dir():
        with tarfile.open(download(tmp_path)) as archive:
            members = [each for each in archive if re.match(r"[^/]+/tests/tasks/\w+\.py$", each.name)]
            assert members
            for each in members:
                each.name = Path(each.name).name
            archive.extractall(tmp_path / "tasks", members, filter="data")
        try:
            shutil.copytree(tmp_path / "tasks", kept / "tasks")
        except OSError:
            return tmp_path  # the interpreter is not ours to write to
    return kept


def test_djangos_own_tests_pass_with_our_backend(djangos_tests: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "django", "test", "--noinput", "tests.contract.djangos_task_tests"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "PYTHONPATH": os.pathsep.join([str(djangos_tests), str(ROOT)]),
            "TMPDIR": str(tmp_path),
            "TEST_USE_TZ": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (ran := re.search(r"Ran (\d+) tests", done.stderr))
    assert int(ran[1]) >= LEAST, done.stderr
