"""Settings of the example project: SQLite and nothing else, no other server."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "only for trying things out"  # noqa: S105  an example has nothing to hide
DEBUG = True
ROOT_URLCONF = "example.urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CENSUS_DATABASE", BASE_DIR / "example" / "census.sqlite3"),
        # Many processes write to one file: each takes the lock when its transaction begins, and waits for it.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}

Q_CLUSTER = {
    "name": "census",
    "timeout": 60,  # seconds for one file
    "shutdown_timeout": 10,  # seconds to finish what runs, after Ctrl-C
    "retry": 15,  # seconds after which the work of a cluster that was cut off belongs to the next one
    "save_limit": 0,  # keep every result: the reconciliation are checked at the end
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_cluster",
    "example.census",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
