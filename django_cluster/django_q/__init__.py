"""Moving from Django-Q: its import paths, its status API, and the import of its rows and messages."""

from __future__ import annotations

import sys


def install_django_q() -> None:
    """Let ``import django_q`` and ``from django_q.tasks import async_task`` find django_cluster.

    Call it at the top of the settings module, before anything is imported from Django-Q. Then imports can be replaced
    one file at a time. ``"django_q"`` in ``INSTALLED_APPS`` then means ``"django_cluster"`` too. Safe to repeat. An
    installed Django-Q is hidden. Raises ``ImportError`` if Django-Q has been imported already.
    """
    from django_cluster.django_q.shim.finder import install

    install()


def replaces_django_q() -> bool:
    """Whether ``install_django_q`` has been called in this process."""
    shim = sys.modules.get("django_cluster.django_q.shim.finder")
    return shim is not None and bool(shim.is_installed())


def replaces_app() -> bool:
    """Whether the app ``"django_cluster.django_q"`` is installed, which is the app ``django_q`` to the project."""
    from django.apps import apps

    return type(apps.app_configs.get("django_q")).__module__.startswith(__name__)
