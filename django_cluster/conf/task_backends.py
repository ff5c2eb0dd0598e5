"""What ``TASKS``, the setting of Django's Tasks framework, says about queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string

from django_cluster.conf.django_settings import written_tasks

BACKEND = "django_cluster.backend.ClusterBackend"
FOREIGN_BACKENDS = ("django.", "django_tasks")
"""How the paths of backends begin that are not imported to see whether they are ours."""
FRAMEWORK_DEFAULT = "default"
"""The queue of Django's Tasks framework that means the cluster's own."""


def framework_queues() -> list[str]:
    """The queues that ``TASKS`` declares for backends of this package, as the cluster calls them; without its own."""
    found = []
    for entry in _entries(written_tasks()):
        options = entry.get("OPTIONS")
        own = options.get("CLUSTER") if isinstance(options, Mapping) else None
        queues = entry.get("QUEUES", [FRAMEWORK_DEFAULT])
        for name in queues if isinstance(queues, list | tuple | set | frozenset) else ():
            found.append(own if name == FRAMEWORK_DEFAULT else name)
    return [name for name in dict.fromkeys(found) if isinstance(name, str) and name]


def _entries(tasks: Any) -> list[Mapping[str, Any]]:
    """The entries of ``TASKS`` whose backend is that of this package, or a class that inherits from it."""
    entries = tasks.values() if isinstance(tasks, Mapping) else ()
    return [entry for entry in entries if isinstance(entry, Mapping) and _is_own_backend(entry.get("BACKEND"))]


def _is_own_backend(path: object) -> bool:
    if path == BACKEND or not isinstance(path, str) or path.startswith(FOREIGN_BACKENDS):
        return path == BACKEND
    try:
        return issubclass(import_string(path), import_string(BACKEND))
    except Exception:  # noqa: BLE001  a backend of the project: Django's checks say what is wrong with it
        return False
