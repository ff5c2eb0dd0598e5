"""Projects that used Django-Q: what now differs, as Django system checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from django.apps import apps
from django.core.checks import CheckMessage, register

from django_cluster import conf
from django_cluster.checks.messages import message_of
from django_cluster.core.settings import problems
from django_cluster.django_q import replaces_app
from django_cluster.django_q.differences import differences, silent_choice
from django_cluster.errors import Problem

DIFFERENCES_TAG = "django_q"


@register(DIFFERENCES_TAG, deploy=True)
def check_differences(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """List differences from Django-Q, for projects that move; called by ``manage.py check --deploy --tag django_q``."""
    mapping = conf.configured()
    if not knows_django_q() or not isinstance(mapping, Mapping):
        return []
    return [message_of(problem) for problem in differences(mapping)]


def problems_of_movers() -> Iterator[Problem]:
    """Problems of projects that used Django-Q: what sends tasks to another queue than before."""
    if not knows_django_q():
        return
    if apps.is_installed("django_q") and not replaces_app():
        yield Problem(problems.BOTH_INSTALLED, "INSTALLED_APPS", "django_q and django_cluster are both installed apps.")
    mapping = conf.configured()
    if isinstance(mapping, Mapping):
        yield from silent_choice(mapping)


def knows_django_q() -> bool:
    """Whether ``import django_q`` works: it is installed, or ``django_cluster.django_q`` replaces it."""
    return find_spec("django_q") is not None
