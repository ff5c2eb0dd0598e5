"""The settings of the tests, with Unfold in charge of the admin."""

from __future__ import annotations

from tests.django_settings import *  # noqa: F403  a settings module is made of names
from tests.django_settings import INSTALLED_APPS as WITHOUT_UNFOLD
from tests.django_settings import MIDDLEWARE as STRICT

INSTALLED_APPS = ["unfold", *WITHOUT_UNFOLD]
# Unfold's own scripts do not run under a strict policy.
MIDDLEWARE = [each for each in STRICT if each != "tests.strict_policy.StrictPolicy"]
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
