"""Which rules hide secrets where arguments and errors are shown."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string

from django_cluster.conf.django_settings import reporter_filter
from django_cluster.conf.loading import load_settings
from django_cluster.core.redaction import Redactor
from django_cluster.errors import InvalidSettings

NO_NAMES = re.compile(r"(?!)")
"""Matches no name."""


def project_redactor() -> Redactor:
    """What is hidden where arguments and errors are shown: the rules of the project's exception reporter filter
    (``DEFAULT_EXCEPTION_REPORTER_FILTER``; Django's own, unless the project has one), and ``masked_names``.
    """
    try:
        more = load_settings().masked_names
    except InvalidSettings:
        more = ()
    return _redactor(reporter_filter(), tuple(more))


@lru_cache(maxsize=1)
def _redactor(path: str, more: tuple[str, ...]) -> Redactor:
    from django.views.debug import SafeExceptionReporterFilter

    rules = import_string(path)()
    own = getattr(type(rules), "cleanse_setting", None)
    is_own = own is not None and own is not SafeExceptionReporterFilter.cleanse_setting
    names: Any = getattr(rules, "hidden_settings", None)
    if not hasattr(names, "search"):  # a project may hide by its own means alone
        names = NO_NAMES if is_own else SafeExceptionReporterFilter.hidden_settings
    if hasattr(names, "pattern"):
        names = re.compile(names.pattern, names.flags)  # Django's is lazy, and takes ten times as long at each use
    return Redactor(names, rules.cleanse_setting if is_own else None, more)
