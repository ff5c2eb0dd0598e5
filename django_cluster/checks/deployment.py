"""What ``check --deploy`` says besides: servers that are unavailable, and functions that are not limited."""

from __future__ import annotations

from django.core.checks import CheckMessage, Tags, register

from django_cluster import conf
from django_cluster.checks.messages import STAND_IN, TAG, message_of
from django_cluster.core.settings import problems
from django_cluster.errors import Problem
from django_cluster.lifecycle.probing import probe


@register(TAG, deploy=True)
def check_servers(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Connect to all servers in parallel, for at most ten seconds; called by ``manage.py check --deploy``."""
    settings = conf.try_load_settings(secret=STAND_IN).settings
    return [] if settings is None else [message_of(problem) for problem in dict.fromkeys(probe(settings))]


@register(Tags.security, deploy=True)
def check_functions(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check that ``functions`` is set; called by ``manage.py check --deploy``."""
    settings = conf.try_load_settings(secret=STAND_IN).settings
    mapping = conf.configured()
    if settings is None or settings.signing.functions != ("any",) or "functions" in mapping:
        return []
    sentence = "functions is not set: everyone who holds SECRET_KEY can run any function that can be imported."
    hint = (
        'Set "functions": "registered", or a list of patterns such as ["orders.tasks.*"]; or "any", if that is meant.'
    )
    return [message_of(Problem(problems.ANY_FUNCTION, "functions", sentence, hint))]
