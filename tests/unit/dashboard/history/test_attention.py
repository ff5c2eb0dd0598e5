"""What needs attention, in sentences."""

from __future__ import annotations

import pytest

from django_cluster.dashboard.history.attention import OperatingFacts, QueueFact, attention


def sentences(**facts: object) -> list[str]:
    return [each.plain for each in attention(OperatingFacts(**{"clusters": 1, **facts}))]  # type: ignore[arg-type]


def test_a_healthy_project_needs_none() -> None:
    idle, busy = QueueFact(name="idle"), QueueFact(name="mail", ready=9, oldest=5.0, usual_wait=4.0, workers=2)

    assert sentences(queues=(idle, busy), runs=1000, failed=9) == []


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        (
            QueueFact(name="mail", ready=310, oldest=725.0),
            "No cluster works on the queue mail; waiting: 310, the oldest for 12 min.",
        ),
        (QueueFact(name="mail", ready=3), "No cluster works on the queue mail; waiting: 3."),
        (
            QueueFact(name="mail", ready=2000, workers=2, paused_seconds=7200.0),
            "The queue mail has been paused for 2 h; waiting: 2,000.",
        ),
        (
            QueueFact(name="mail", ready=8, workers=2, oldest=600.0, usual_wait=30.0),
            "In the queue mail a task waits for 10 min, usually 30 s at most; waiting: 8.",
        ),
        (QueueFact(name="mail", is_away=True), "The broker of the queue mail does not answer."),
    ],
)
def test_a_queue_in_trouble_is_one_sentence(queue: QueueFact, said: str) -> None:
    assert sentences(queues=(queue,)) == [said]


@pytest.mark.parametrize(
    "queue",
    [
        QueueFact(name="mail", paused_seconds=60.0),  # nothing waits
        QueueFact(name="mail", ready=1, workers=1, oldest=59.0, usual_wait=1.0),  # a minute is no trouble
        QueueFact(name="mail", ready=1, workers=1, oldest=600.0, usual_wait=300.0),  # it is often like that
        QueueFact(name="mail", ready=1, workers=1, oldest=600.0),  # what is usual is not known
    ],
)
def test_a_queue_as_usual_is_none(queue: QueueFact) -> None:
    assert sentences(queues=(queue,)) == []


def test_the_worst_comes_first() -> None:
    said = sentences(
        clusters=0, late_schedules=2, broken_schedules=1, dead=3, runs=100, failed=20, lost=(("vm", 90.0),)
    )

    assert said == [
        "No cluster is running.",
        "A cluster on vm has been silent for 1 min.",
        "Tasks that are dead, because their workers died: 3",
        "Schedules that cannot run: 1",
        "20 % of all runs have failed: 20",
        "Schedules that are late: 2",
    ]
