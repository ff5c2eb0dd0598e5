"""``manage.py dumpdata`` of Django, which leaves proxies out: Django-Q's models mean the rows of this package.

``dumpdata django_q.Schedule`` dumps the schedules, as ``django_cluster.schedule``; ``--exclude django_q.schedule``
leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.commands import dumpdata

OURS = {
    "django_q.schedule": ["django_cluster.schedule"],
    "django_q.task": ["django_cluster.task"],
    "django_q.success": ["django_cluster.task"],
    "django_q.failure": ["django_cluster.task"],
    "django_q.ormq": ["django_cluster.queuedtask"],
    "django_q": ["django_cluster.schedule", "django_cluster.task", "django_cluster.queuedtask"],
}


class Command(dumpdata.Command):
    """Dumps, under any name, the rows of this package."""

    def handle(self, *app_labels: str, **options: Any) -> None:
        options["exclude"] = [*options["exclude"], *_ours(options["exclude"])]
        named = [label for label in app_labels if label.lower() not in OURS]
        super().handle(*dict.fromkeys([*named, *_ours(app_labels)]), **options)


def _ours(labels: Sequence[str]) -> Iterator[str]:
    for label in labels:
        yield from OURS.get(label.lower(), ())
