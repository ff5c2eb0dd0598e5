"""What holds for every unit test: nothing of an earlier one is left in the memory of the process."""

from __future__ import annotations

import pytest
from django.core.cache import caches

from django_cluster.brokers import memory


@pytest.fixture(autouse=True)
def empty_memory() -> None:
    """No message in the queues of the memory broker, no result in a cache."""
    memory.reset()
    for cache in caches.all(initialized_only=True):
        cache.clear()
