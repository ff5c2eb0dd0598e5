"""The settings of the tests, with Unfold in charge of the admin."""

from __future__ import annotations

from tests.django_settings import *  # noqa: F403  a settings module is made of names
from tests.django_settings import INSTALLED_APPS as WITHOUT_UNFOLD

INSTALLED_APPS = ["unfold", *WITHOUT_UNFOLD]
