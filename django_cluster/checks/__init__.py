"""Django system checks. Importing this package registers them.

They look at settings only: no database, cache or broker is opened, unless ``--deploy`` or ``--database`` asks for it.
"""

from __future__ import annotations

from django_cluster.checks import databases, deployment, django_q, schedules, settings, tasks

__all__ = ["databases", "deployment", "django_q", "schedules", "settings", "tasks"]
