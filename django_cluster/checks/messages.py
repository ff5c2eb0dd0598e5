"""The form of all messages of the checks."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Info, Warning

from django_cluster.errors import Problem

TAG = "django_cluster"

STAND_IN = "a secret for the time of the check"
"""Used instead of a missing ``SECRET_KEY``: Django has its own check for it, and commands that need no key must
work."""

KINDS = {"E": Error, "W": Warning, "I": Info}


def message_of(problem: Problem) -> CheckMessage:
    """The message with the id, the sentence and the hint of the problem."""
    kind = KINDS[problem.id[0]]
    return kind(f"Q_CLUSTER: {problem.sentence}", hint=problem.hint or None, id=f"{TAG}.{problem.id}")
