"""The log lines of a worker outlive it, as far as they have room."""

from __future__ import annotations

from pathlib import Path

from django_cluster.cluster.ipc.log_ring import ROOM, LogRing, ring_file, take_lines


def test_lines_are_read_once_with_their_tasks(tmp_path: Path) -> None:
    file = ring_file(tmp_path, 3)
    ring = LogRing(file)
    ring.add("a", "first line")
    ring.add("b", "")

    assert take_lines(file) == [("a", "first line"), ("b", "")]
    assert not file.exists()
    assert take_lines(file) == []


def test_the_oldest_lines_make_room_and_none_is_cut(tmp_path: Path) -> None:
    file = ring_file(tmp_path, 3)
    ring = LogRing(file)
    lines = [f"{number} {'x' * 990}" for number in range(3 * ROOM // 1000)]
    for line in lines:
        ring.add("task", line)

    kept = [line for _, line in take_lines(file)]

    assert kept == lines[-len(kept) :]
    assert ROOM // 1000 - 3 < len(kept) <= ROOM // 1000
