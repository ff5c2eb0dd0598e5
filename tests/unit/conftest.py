"""What holds for every unit test: the queues of the memory broker are empty when it begins."""

from __future__ import annotations

import pytest

from django_cluster.brokers import memory


@pytest.fixture(autouse=True)
def empty_memory_queues() -> None:
    """They belong to the process, and an earlier test may have left something there."""
    memory.reset()
