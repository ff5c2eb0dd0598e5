"""Workflows: chains (one task after another), groups (concurrent tasks with a callback), iters (one list of results).

``wait`` is in milliseconds: 0 = do not wait, negative = no limit. Arguments are copied, and never changed.
"""

from __future__ import annotations

from django_cluster.composition.async_task import AsyncTask
from django_cluster.composition.chains import Chain, async_chain
from django_cluster.composition.groups import Group, call
from django_cluster.composition.iters import Iter, async_iter

__all__ = ["AsyncTask", "Chain", "Group", "Iter", "async_chain", "async_iter", "call"]
