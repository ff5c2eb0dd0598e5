from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.scoreboard import Scoreboard


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    board = Scoreboard.create(tmp_path / "scoreboard", 4)
    yield board
    board.close()
