"""Where Django-Q's models are: proxies where the app is installed, else the models of this package themselves."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django_cluster.django_q import replaces_app

OURS = {"OrmQ": "QueuedTask"}
NAMES = ("Task", "Success", "Failure", "Schedule", "OrmQ")


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(name)
    if replaces_app():
        return getattr(import_module("django_cluster.django_q.models"), name)
    return getattr(import_module("django_cluster.models"), OURS.get(name, name))
