"""For ``LOGGING``: ``TaskFilter`` says of each record to which task it belongs, ``JsonFormatter`` writes JSON.

It needs no settings, so that they can name it.
"""

from __future__ import annotations

from django_cluster.core.correlation import correlate, current_correlation_id, current_traceparent
from django_cluster.core.log_records import JsonFormatter, TaskFilter

__all__ = ["JsonFormatter", "TaskFilter", "correlate", "current_correlation_id", "current_traceparent"]
