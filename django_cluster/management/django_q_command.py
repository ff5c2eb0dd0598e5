"""``manage.py qcluster`` for commands that inherit from Django-Q's."""

from __future__ import annotations

from typing import Any

from django_cluster.management.commands import qcluster


class Command(qcluster.Command):
    """The command of this package; ``options["cluster_name"]`` says what ``--name`` says, as in Django-Q."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        names = options.get("name") or []
        options.setdefault("cluster_name", names[0] if names else None)
        return super().execute(*args, **options)
