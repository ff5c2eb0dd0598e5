"""The signals of django_cluster: names only, no receivers.

The sender is always the string ``"django_cluster"``. A receiver that raises is logged and changes nothing. A receiver
of ``pre_enqueue`` or ``pre_execute`` may return another ``TaskPackage``, which is then sent or run instead of ``task``:
``dataclasses.replace(task, kwargs={…})``. If several do, the last one counts.
"""

from __future__ import annotations

from django.dispatch import Signal

SENDER = "django_cluster"

pre_enqueue = Signal()
"""In the process that enqueues, before the package is signed. ``task``: the ``TaskPackage``."""

post_spawn = Signal()
"""In a child of the cluster that has just started. ``proc_name``: its name, such as ``worker 1``."""

pre_execute = Signal()
"""In the worker, before the function runs. ``func``: the callable, ``task``: the ``TaskPackage``."""

post_execute_in_worker = Signal()
"""In the worker, after the function ran, whether it raised or not. ``func`` and ``task`` as above; ``result``: what it
returned, ``error``: the exception that it raised, or None."""

post_execute = Signal()
"""In the notifier, after the outcome was saved. ``task``: the ``Outcome``."""
