"""The settings of the tests, of a project that has chosen for itself how its processes use SQLite."""

from __future__ import annotations

from tests.django_settings import *  # noqa: F403
from tests.django_settings import DATABASES as USUAL_DATABASES

OPTIONS = {"transaction_mode": "DEFERRED", "timeout": 7, "init_command": "PRAGMA journal_mode=DELETE"}
DATABASES = {"default": {**USUAL_DATABASES["default"], "OPTIONS": OPTIONS}}
