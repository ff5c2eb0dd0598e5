"""The part of the scoreboard that says which functions are paused. Written by the monitor, read by workers."""

from __future__ import annotations

from django_cluster.cluster.ipc.shared_hashes import bytes_for, text_hash

MAX_PAUSED_TASKS = 500
"""Functions that can be paused at the same time."""
PAUSED_BYTES = bytes_for(MAX_PAUSED_TASKS)

path_hash = text_hash
"""The dotted path of a function as one word."""
