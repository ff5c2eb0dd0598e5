"""The settings of the tests, with SQLite set up as the documentation recommends for a site with a cluster."""

from __future__ import annotations

from tests.django_settings import *  # noqa: F403
from tests.django_settings import DATABASES as USUAL_DATABASES

OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20}
DATABASES = {"default": {**USUAL_DATABASES["default"], "OPTIONS": OPTIONS}}
