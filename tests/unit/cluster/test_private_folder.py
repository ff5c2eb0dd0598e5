"""The private folder of a cluster: who may sweep it, and what becomes of one that is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster import private_folder
from django_cluster.cluster.private_folder import PrivateFolder, sweep
from django_cluster.cluster.scoreboard import PEAK
from django_cluster.errors import ClusterError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(private_folder, "places", lambda: iter([tmp_path]))
    return tmp_path


@pytest.fixture
def private(place: Path) -> Iterator[PrivateFolder]:
    private = PrivateFolder(rows=2)
    yield private
    private.close()


def forsaken(place: Path) -> Path:
    """What a cluster has left that was killed as the first process of its container."""
    folder = place / "qcluster-1-abcdef"
    folder.mkdir()
    (folder / "scoreboard").write_bytes(b"old")
    return folder


def test_only_its_owner_may_enter_it(private: PrivateFolder) -> None:
    assert private.folder.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_in_use_is_not_swept(private: PrivateFolder, place: Path) -> None:
    sweep(place)

    assert Path(private.folder.board_path).exists()


def test_what_a_killed_cluster_has_left_is_swept_whatever_number_its_process_had(place: Path) -> None:
    old = forsaken(place)
    alive = place / f"qcluster-{os.getpid()}-abcdef"
    alive.mkdir()

    PrivateFolder(rows=2).close()

    assert not old.exists()
    assert not alive.exists(), "there is a process of that number, and it has nothing to do with the folder"


def test_a_folder_is_in_use_while_anybody_holds_its_lock(place: Path) -> None:
    old = forsaken(place)
    descriptor = os.open(old, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)

    sweep(place)
    held = old.exists()
    os.close(descriptor)
    sweep(place)

    assert (held, old.exists()) == (True, False)


@pytest.mark.parametrize("what", ["folder", "scoreboard"])
def test_a_lost_folder_is_made_again_with_the_same_scoreboard(private: PrivateFolder, place: Path, what: str) -> None:
    if what == "folder":
        shutil.rmtree(private.folder.path)
    else:
        os.unlink(private.folder.board_path)
    assert private.is_lost()

    private.restore()

    private.board.set(1, PEAK, 4711)
    newcomer = private.folder.open_board()
    assert newcomer.get(1, PEAK) == 4711
    newcomer.close()
    assert not private.is_lost()
    sweep(place)
    assert not private.is_lost(), "it is locked again"


def test_nothing_is_left_behind(place: Path) -> None:
    PrivateFolder(rows=2).close()

    assert list(place.iterdir()) == []


def test_without_room_anywhere_one_sentence_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = place / "nowhere"
    monkeypatch.setattr(private_folder, "places", lambda: iter([nowhere]))

    with pytest.raises(ClusterError, match=r"no room for the scoreboard \(0\.\d MB\): .*nowhere: No such file"):
        PrivateFolder(rows=2)
