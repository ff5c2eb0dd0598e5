"""The settings of the tests, with what must not stand there: two apps, and a key from the environment."""

from __future__ import annotations

import os

from tests.django_settings import *  # noqa: F403
from tests.django_settings import INSTALLED_APPS as USUAL_APPS
from tests.django_settings import SECRET_KEY as USUAL_KEY

INSTALLED_APPS = [*USUAL_APPS, "tests.e2e.failing_startup", "tests.e2e.declaring"]
SECRET_KEY = os.environ.get("TEST_SECRET_KEY", USUAL_KEY)
