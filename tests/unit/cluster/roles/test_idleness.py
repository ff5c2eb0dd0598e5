"""When a cluster has nothing left to do: who has to say so, and in which order."""

from __future__ import annotations

import pytest

from django_cluster.cluster.roles.idleness import is_cluster_idle


@pytest.mark.parametrize(
    ("pushers", "others", "done"),
    [
        ([5.0], [1.0, 2.0], True),
        ([5.0], [], True),
        ([], [1.0], False),  # it is being replaced
        ([0.0], [1.0, 2.0], False),
        ([5.0], [0.0, 2.0], False),
        ([5.0], [1.0, 6.0], False),  # what the other has done last may have sent a task
        ([5.0], [1.0, 5.0], False),
    ],
)
def test_the_queue_must_have_been_looked_at_after_everybody_else_was_done(
    pushers: list[float], others: list[float], done: bool
) -> None:
    assert is_cluster_idle(pushers, others) is done
