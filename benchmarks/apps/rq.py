"""The tasks as RQ finds them: by the path of a function in a module that sets Django up."""

from __future__ import annotations

import django

from benchmarks.tasks import noop, weigh, work

django.setup()

__all__ = ["noop", "weigh", "work"]
