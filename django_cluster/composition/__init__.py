"""Tasks that belong together: chains (one after the other), groups (something follows), iters (one list).

Django-Q's names and arguments, with immutable values underneath: what a caller hands over is copied and never
changed. ``wait`` is in milliseconds: 0 = one look, negative = for ever.
"""

from __future__ import annotations

from django_cluster.composition.async_task import AsyncTask
from django_cluster.composition.chains import Chain, async_chain
from django_cluster.composition.groups import Group, call
from django_cluster.composition.iters import Iter, async_iter

__all__ = ["AsyncTask", "Chain", "Group", "Iter", "async_chain", "async_iter", "call"]
