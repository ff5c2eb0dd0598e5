"""The settings of the tests, with the database once more as a file that is only read."""

from __future__ import annotations

from tests.django_settings import *  # noqa: F403
from tests.django_settings import DATABASES as USUAL_DATABASES

REPLICA = {**USUAL_DATABASES["default"], "NAME": f"file:{USUAL_DATABASES['default']['NAME']}?mode=ro"}
DATABASES = {"default": USUAL_DATABASES["default"], "replica": REPLICA}
