"""The runtime directory of a cluster: who may remove_abandoned it, and what becomes of one that is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.words import PEAK_RSS
from django_cluster.cluster.supervisor import runtime_dir_owner
from django_cluster.cluster.supervisor.runtime_dir_owner import RuntimeDirOwner, remove_abandoned
from django_cluster.errors import ClusterError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runtime_dir_owner, "parent_dirs", lambda: iter([tmp_path]))
    return tmp_path


@pytest.fixture
def private(place: Path) -> Iterator[RuntimeDirOwner]:
    private = RuntimeDirOwner(rows=2)
    yield private
    private.close()


def forsaken(place: Path) -> Path:
    """What a cluster has left that was killed as the first process of its container."""
    runtime_dir = place / "qcluster-1-abcdef"
    runtime_dir.mkdir()
    (runtime_dir / "scoreboard").write_bytes(b"old")
    return runtime_dir


def test_only_its_owner_may_enter_it(private: RuntimeDirOwner) -> None:
    assert private.runtime_dir.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_in_use_is_not_swept(private: RuntimeDirOwner, place: Path) -> None:
    remove_abandoned(place)

    assert Path(private.runtime_dir.scoreboard_path).exists()


def test_what_a_killed_cluster_has_left_is_swept_whatever_number_its_process_had(place: Path) -> None:
    old = forsaken(place)
    alive = place / f"qcluster-{os.getpid()}-abcdef"
    alive.mkdir()

    RuntimeDirOwner(rows=2).close()

    assert not old.exists()
    assert not alive.exists(), "there is a process of that number, and it has nothing to do with the runtime_dir"


def test_a_folder_is_in_use_while_anybody_holds_its_lock(place: Path) -> None:
    old = forsaken(place)
    descriptor = os.open(old, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)

    remove_abandoned(place)
    held = old.exists()
    os.close(descriptor)
    remove_abandoned(place)

    assert (held, old.exists()) == (True, False)


@pytest.mark.parametrize("what", ["runtime_dir", "scoreboard"])
def test_a_lost_folder_is_made_again_with_the_same_scoreboard(private: RuntimeDirOwner, place: Path, what: str) -> None:
    if what == "runtime_dir":
        shutil.rmtree(private.runtime_dir.path)
    else:
        os.unlink(private.runtime_dir.scoreboard_path)
    assert private.is_lost()

    private.restore()

    private.board.set(1, PEAK_RSS, 4711)
    newcomer = private.runtime_dir.open_scoreboard()
    assert newcomer.get(1, PEAK_RSS) == 4711
    newcomer.close()
    assert not private.is_lost()
    remove_abandoned(place)
    assert not private.is_lost(), "it is locked again"


def test_nothing_is_left_behind(place: Path) -> None:
    RuntimeDirOwner(rows=2).close()

    assert list(place.iterdir()) == []


def test_without_room_anywhere_one_sentence_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = place / "nowhere"
    monkeypatch.setattr(runtime_dir_owner, "parent_dirs", lambda: iter([nowhere]))

    with pytest.raises(ClusterError, match=r"no room for the scoreboard \(0\.\d MB\): .*nowhere: No such file"):
        RuntimeDirOwner(rows=2)
