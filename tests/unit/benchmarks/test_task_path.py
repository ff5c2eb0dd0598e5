from __future__ import annotations

import pytest

from benchmarks.stamped import FINISHED, HANDED_OUT, LEASED, RECEIVED, SETTLED
from benchmarks.task_path import BEGUN, CALLED, RETURNED, Hop, hops
from benchmarks.task_profile import Profile, Share, grids


def lone_task(called: float) -> dict[str, float]:
    return {CALLED: called, RETURNED: called + 0.0003, BEGUN: called + 0.001}


def test_each_part_of_the_way_lies_between_two_hand_overs() -> None:
    lone = [lone_task(moment) for moment in (1.0, 2.0, 3.0)]
    left = {
        LEASED: [0.5, 1.0004, 2.0004],
        HANDED_OUT: [1.0005, 1.4, 2.0005],
        RECEIVED: [1.0007, 2.0007],
        FINISHED: [1.0011, 2.0011],
        SETTLED: [1.004, 2.004],
    }
    found = {hop.what: hop.median for hop in hops(lone, left)}
    assert found == {
        "sender: the whole call": pytest.approx(300),
        "call to pusher: sealed, sent, kept, the pusher woken": pytest.approx(400),
        "pusher: verify, hand out": pytest.approx(100),
        "pusher to worker: the worker woken, the job read": pytest.approx(200),
        "worker: find the function, begin": pytest.approx(300),
        "call to task: latency": pytest.approx(1000),
        "worker: end, seal the result": pytest.approx(100),
        "worker to monitor: saved, acknowledged": pytest.approx(2900),
        "call to result": pytest.approx(4000),
    }


def test_a_mark_of_another_task_is_not_taken_for_that_of_this_one() -> None:
    found = hops([lone_task(1.0), lone_task(2.0)], {LEASED: [0.9, 2.0004], SETTLED: []})
    assert [hop.what for hop in found] == ["sender: the whole call", "call to task: latency"]


def test_set_ups_stand_side_by_side() -> None:
    one = Profile("redis", {("pusher", "verify"): 3.44}, {"pusher": Share(11.0, 0.2, 21.4)}, [Hop("way", 100.0, 120.0)])
    other = Profile("sqlite", {("worker", "run"): 10.0}, {"worker": Share(41.0, 0.9, 25.0)}, [])
    steps, cpu, memory, way = grids([one, other])
    assert steps.head == ["process", "step", "redis", "sqlite"]
    assert steps.rows == [["pusher", "verify", "3.44", "–"], ["worker", "run", "–", "10.0"]]
    assert cpu.rows[0] == ["pusher", "11.0", "–"]
    assert cpu.rows[-1] == ["together", "11.0", "41.0"]
    assert memory.rows[:2] == [["pusher", "21.4", "–"], ["worker", "–", "25.0"]]
    assert way.rows == [["way", "100 (120)", "–"]]
