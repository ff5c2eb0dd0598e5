"""A site with Wagtail and django-pictures; ``SITE_FOLDER`` has its database and its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.django_settings import INSTALLED_APPS as APPS
from tests.django_settings import MIDDLEWARE, ROOT_URLCONF, SECRET_KEY, STATIC_URL, TEMPLATES  # noqa: F401  kept
from tests.tasks_framework import BACKEND

FOLDER = Path(os.environ["SITE_FOLDER"])

USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
MEDIA_ROOT = FOLDER / "media"
MEDIA_URL = "media/"
INSTALLED_APPS = [
    *APPS,
    "wagtail",
    "wagtail.admin",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.sites",
    "wagtail.users",
    "modelcluster",
    "taggit",
    "pictures",
    "tests.framework_site.gallery",
]
WAGTAIL_SITE_NAME = "a gallery"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAILIMAGES_FEATURE_DETECTION_ENABLED = True

Q_CLUSTER: dict[str, Any] = {"name": "gallery", "workers": 1, "orm": "default", "save_limit": 0, "max_attempts": 1}
TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": ["default", "pictures"]}}
PICTURES = {"FILE_TYPES": ["WEBP"], "BREAKPOINTS": {"s": 20}, "CONTAINER_WIDTH": 40, "GRID_COLUMNS": 1,
            "PIXEL_DENSITIES": [1]}  # fmt: skip
