"""The one settings module of the tests; what differs from run to run comes from the environment.

Tests that start ``manage.py`` as a process of its own pass their wishes in the same variables:

=========================  ============================================================================
``TEST_DATABASE``          ``sqlite`` (default), ``postgres`` or ``mariadb``
``TEST_DATABASE_NAME``     the file of SQLite, or the name of the database
``TEST_DATABASE_HOST``     the folder (postgres) or the path (mariadb) of the server's socket
``TEST_DATABASE_PORT``     the port, where the host is one and no socket
``TEST_DATABASE_USER``     the account on the server
``TEST_DATABASE_AGE``      ``CONN_MAX_AGE`` as JSON
``TEST_Q_CLUSTER``         ``Q_CLUSTER`` as JSON
``TEST_CACHE``             a Redis URL, or a folder for files; without it each process has its own cache
``TEST_USE_TZ``            ``1`` (default) or ``0``
``TEST_TASKS``             ``TASKS`` of Django's Tasks framework as JSON
=========================  ============================================================================
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import django

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgres": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}


def database() -> dict[str, Any]:
    """The database that the environment asks for."""
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    if kind == "sqlite":
        # A file, never ":memory:", and so for the database that pytest-django makes: a cluster is several processes.
        file = Path(tempfile.gettempdir(), f"django_cluster-{os.getpid()}.sqlite3")
        name = os.environ.get("TEST_DATABASE_NAME", str(file))
        return {"ENGINE": ENGINES[kind], "NAME": name, "TEST": {"NAME": f"{file}.test"}}
    return {
        "ENGINE": ENGINES[kind],
        "NAME": os.environ.get("TEST_DATABASE_NAME", "django_cluster"),
        "HOST": os.environ["TEST_DATABASE_HOST"],
        "PORT": os.environ.get("TEST_DATABASE_PORT", ""),
        "CONN_MAX_AGE": json.loads(os.environ.get("TEST_DATABASE_AGE", "0")),
        "USER": os.environ.get("TEST_DATABASE_USER", ""),
    }


def cache() -> dict[str, Any]:
    """The cache that the environment asks for."""
    place = os.environ.get("TEST_CACHE", "")
    if not place:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    kind = "redis.RedisCache" if "://" in place else "filebased.FileBasedCache"
    return {"BACKEND": f"django.core.cache.backends.{kind}", "LOCATION": place}


SECRET_KEY = "a key for tests, known to everybody"
USE_TZ = os.environ.get("TEST_USE_TZ", "1") == "1"
TIME_ZONE = "Europe/Amsterdam"
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database()}
CACHES = {"default": cache()}
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a good one takes half a second, on purpose
Q_CLUSTER = json.loads(os.environ.get("TEST_Q_CLUSTER", '{"name": "tests"}'))
BACKEND = "django_cluster.backend.ClusterBackend"
TASKS = json.loads(os.environ.get("TEST_TASKS", f'{{"default": {{"BACKEND": "{BACKEND}"}}}}'))

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "django_cluster",
    "tests.sample",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")  # the backport of Django's Tasks framework
MIDDLEWARE = [
    "tests.strict_policy.StrictPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
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
