"""Exits every process of the role in an environment variable, before it is ready."""

from __future__ import annotations

import os

from django.apps import AppConfig

from django_cluster.signals import post_spawn

ROLE = "FAILING_ROLE"
"""The environment variable with the role."""


class FailingStartupConfig(AppConfig):
    name = "tests.e2e.failing_startup"

    def ready(self) -> None:
        post_spawn.connect(exit_in_failing_role, dispatch_uid="failing_startup")


def exit_in_failing_role(proc_name: str, **_: object) -> None:
    role = os.environ.get(ROLE)
    if role and proc_name.startswith(role):
        os._exit(7)
