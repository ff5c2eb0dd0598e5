"""The saboteur: ends every process of the role that the environment names, before it is ready."""

from __future__ import annotations

import os

from django.apps import AppConfig

from django_cluster.signals import post_spawn

ROLE = "SABOTAGED_ROLE"
"""The environment variable with the role."""


class SaboteurConfig(AppConfig):
    name = "tests.e2e.saboteur"

    def ready(self) -> None:
        post_spawn.connect(end_sabotaged, dispatch_uid="saboteur")


def end_sabotaged(proc_name: str, **_: object) -> None:
    role = os.environ.get(ROLE)
    if role and proc_name.startswith(role):
        os._exit(7)
