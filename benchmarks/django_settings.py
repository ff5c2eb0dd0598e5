"""The Django project that all systems load, so that their memory can be compared; the environment says the rest."""

from __future__ import annotations

import json
import os

_given = json.loads(os.environ["BENCH_DJANGO"])

SECRET_KEY = "not a secret: this project lives for the length of a benchmark"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Every system may keep its connection; to connect anew for each task would be all that is measured.
DATABASES = {"default": {**_given["database"], "CONN_MAX_AGE": 600}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", *_given["apps"]]

globals().update(_given["settings"])
