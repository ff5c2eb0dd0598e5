"""The steps of docs/how-to/moving-from-django-q.md for a project whose own migrations depend on Django-Q."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("django_q")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "moving-from-django-q.md").read_text()
SETTINGS = """
{top}
SECRET_KEY = "a key"
INSTALLED_APPS = [{apps}"shop"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{file}"}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
Q_CLUSTER = {{"name": "shop", "orm": "default", "timeout": 60, "retry": 90}}
USE_TZ = True
"""
SHIM = "from django_cluster.django_q import install_django_q\ninstall_django_q()"
MIGRATION = """
from datetime import datetime, timezone
from django.db import migrations

def plan(apps, editor):
    Schedule = apps.get_model("django_q", "Schedule")
    Schedule.objects.create(func="shop.tasks.report", name="nightly", schedule_type="D",
                            next_run=datetime(2040, 1, 1, 2, tzinfo=timezone.utc))

class Migration(migrations.Migration):
    dependencies = [("django_q", "0016_schedule_intended_date_kwarg")]
    operations = [migrations.RunPython(plan, migrations.RunPython.noop)]
"""


class Project:
    """A folder with a project that changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop" / "migrations").mkdir(parents=True)
        for name in ("__init__", "tasks", "migrations/__init__"):
            (folder / "shop" / f"{name}.py").touch()
        self.migration = folder / "shop" / "migrations" / "0001_schedules.py"
        self.migration.write_text(MIGRATION)

    def configure(self, *apps: str, shim: bool = False, file: str = "db.sqlite3") -> None:
        text = SETTINGS.format(top=SHIM if shim else "", apps="".join(f'"{app}", ' for app in apps), file=file)
        (self.folder / "settings.py").write_text(text)

    def edit_the_migration(self) -> None:
        """As the table of the page says."""
        text = self.migration.read_text()
        edits = re.findall(r"^   \| `(.*django_q.*)` \| `(.*)` \|$", PAGE, re.MULTILINE)
        assert len(edits) == 2
        for before, after in edits:
            assert before in text
            text = text.replace(before, after)
        self.migration.write_text(text)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "django", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings"}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(ROOT)])
        command = [sys.executable, "-B", "-W", "ignore", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True)

    def schedules(self) -> str:
        code = (
            "import django; django.setup(); from django_cluster.models import Schedule; print(Schedule.objects.count())"
        )
        return self.python("-c", code).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.configure("django.contrib.contenttypes", "django_q")
    assert project.manage("migrate", "-v0").returncode == 0
    return project


def test_the_steps_of_the_page(project: Project) -> None:
    project.configure("django.contrib.contenttypes", "django_q", "django_cluster")
    done = project.manage("migrate", "-v0", "django_cluster")
    assert done.returncode == 0, done.stderr

    project.configure("django.contrib.contenttypes", "django_cluster", shim=True)
    project.edit_the_migration()
    for arguments in (
        ["migrate", "-v0"],
        ["qimport", "django_q"],
        ["migrate", "--check"],
        ["makemigrations", "--check"],
    ):
        done = project.manage(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    assert project.schedules() == "1"
    project.configure("django.contrib.contenttypes", "django_cluster", shim=True, file="new.sqlite3")
    assert project.manage("migrate", "-v0").returncode == 0
    assert project.schedules() == "1", "a new database only sees the edited migrations"


def test_without_the_tables_first_django_refuses(project: Project) -> None:
    """What the page warns of: otherwise its order would be needless."""
    project.configure("django.contrib.contenttypes", "django_cluster", shim=True)
    project.edit_the_migration()

    assert "InconsistentMigrationHistory" in project.manage("migrate", "-v0").stderr
