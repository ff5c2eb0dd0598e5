"""The migrations say exactly what the models say, whatever a project sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
from django.core.management import call_command

from django_cluster.models import QueuedTask, Schedule, Task


def test_no_migration_is_missing(db: None) -> None:
    call_command("makemigrations", "django_cluster", check=True, dry_run=True, verbosity=0)


CHECK = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.contenttypes", "django_cluster"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    {settings}
)
django.setup()
from django.core.management import call_command

call_command("makemigrations", check=True, dry_run=True)
"""


@pytest.mark.parametrize(
    "changes",
    [
        {"DEFAULT_AUTO_FIELD": "django.db.models.AutoField"},
        {"DEFAULT_AUTO_FIELD": "django.db.models.SmallAutoField", "USE_TZ": False},
        {"LANGUAGE_CODE": "de", "USE_I18N": True},
    ],
)
def test_no_setting_of_a_project_asks_for_a_migration(changes: Mapping[str, object]) -> None:
    program = CHECK.format(settings=", ".join(f"{name}={value!r}" for name, value in changes.items()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("model", [Task, Schedule, QueuedTask])
def test_indexes_are_short_in_name_and_whole(model: type) -> None:
    indexes = model._meta.indexes  # type: ignore[attr-defined]  # every model has it

    assert indexes
    assert all(len(index.name) <= 30 for index in indexes)
    assert all(index.condition is None for index in indexes), "MySQL has no partial indexes (W037)"
