"""What ``manage.py check`` says of an alias of ``TASKS`` whose backend is ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error

from django_cluster.backend.options import option_problems
from django_cluster.framework.compat import IS_BUILT_IN

APP, BACKPORT = "django_cluster", "django_tasks"


def backend_problems(alias: str, options: Any, queues: Collection[str]) -> list[CheckMessage]:
    """The problems of one alias."""
    return list(_problems(alias, options, queues))


def _problems(alias: str, options: Any, queues: Collection[str]) -> Iterator[CheckMessage]:
    place = f"TASKS[{alias!r}]"
    if not apps.is_installed(APP):
        hint = f"Add {APP!r} to INSTALLED_APPS, and run manage.py migrate."
        yield Error(f"{place}: the backend needs the app {APP!r}.", hint=hint, id=f"{APP}.E101")
    if not IS_BUILT_IN and not apps.is_installed(BACKPORT):
        hint = f"Add {BACKPORT!r} to INSTALLED_APPS: without it nothing checks TASKS and nothing logs its tasks."
        yield Error(f"{place}: the backport of the framework is not installed as an app.", hint=hint, id=f"{APP}.E102")
    for sentence in option_problems(options):
        yield Error(f"{place}['OPTIONS']: {sentence}", id=f"{APP}.E103")
    for queue in sorted(map(str, queues)):
        if not queue or len(queue) > 100:
            yield Error(f"{place}['QUEUES']: {queue[:110]!r} is no name of a queue.", id=f"{APP}.E104")
    cluster = options.get("CLUSTER") if isinstance(options, dict) else None
    if cluster and cluster in queues:
        yield Error(
            f"{place}: CLUSTER is {cluster!r}, which is in QUEUES too: the framework's queues 'default' and"
            f" {cluster!r} would be one.",
            id=f"{APP}.E105",
        )
