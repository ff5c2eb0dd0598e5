"""A schedule that stands in the code."""

from __future__ import annotations

import os
from datetime import timedelta

from django_cluster.decorators import cron_task
from tests.sample.tasks import touch

TRACE = "DECLARED_TRACE"
"""The environment variable with the file in which the declared task leaves its traces."""

if TRACE in os.environ:

    @cron_task(every=timedelta(minutes=10), name="tracer")
    def leave_trace() -> None:
        touch(os.environ[TRACE], "declared")
