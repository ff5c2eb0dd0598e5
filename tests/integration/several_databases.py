"""The settings of the tests, with the databases and routers that the environment names (JSON)."""

from __future__ import annotations

import json
import os

from tests.django_settings import *  # noqa: F403

if "TEST_DATABASES" in os.environ:  # the process from which clusters are forked imports it without
    DATABASES = json.loads(os.environ["TEST_DATABASES"])
DATABASE_ROUTERS = json.loads(os.environ.get("TEST_ROUTERS", "[]"))
