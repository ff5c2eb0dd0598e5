"""The runtime directory of a cluster: claimed at the start with room for the scoreboard, restored when it is lost.

A sentinel holds a lock (``flock``) on its runtime_dir, which ends with the process whatever ends it. A runtime_dir without a
lock is what a killed cluster has left. A process number would say less: in containers it is nearly always 1, and
containers that share ``/dev/shm`` do not see each other's processes.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django_cluster.cluster.bootstrap.host import shared_memory_dir
from django_cluster.cluster.ipc.runtime_dir import RuntimeDir
from django_cluster.cluster.ipc.scoreboard import ROW_BYTES, Scoreboard
from django_cluster.errors import ClusterError

PREFIX = "qcluster"
UNLOCKED_PREFIX = f".{PREFIX}-new-"
"""Of a runtime_dir that is not locked yet: nobody sweeps those."""
MAX_PARENT_BYTES = 60
"""Bytes of the path in which a runtime_dir is made: the path of a unix socket inside has about 100 at most."""


class RuntimeDirOwner:
    """A runtime_dir that only this user can enter, its scoreboard, and the lock that says that it is in use."""

    def __init__(self, rows: int) -> None:
        """Sweep away what killed clusters of this user have left, and claim a new runtime_dir.

        Raises ``ClusterError`` where no place has room for the scoreboard of ``rows`` rows.
        """
        refusals = []
        for place in parent_dirs():
            remove_abandoned(place)
            try:
                self._lock, path, self.board = _create(place, rows)
            except OSError as error:
                refusals.append(f"{place}: {error.strerror or error}")
            else:
                self.runtime_dir = RuntimeDir(path, secrets.token_bytes(32), rows, str(uuid.uuid4()))
                return
        size = (rows + 1) * ROW_BYTES / 1e6
        raise ClusterError(
            f"There is no room for the scoreboard ({size:.1f} MB): {'; '.join(refusals) or 'no runtime_dir'}"
        )

    def is_lost(self) -> bool:
        """Whether somebody has removed the runtime_dir, or the scoreboard in it."""
        return not os.path.exists(self.runtime_dir.scoreboard_path)

    def restore(self) -> None:
        """Make the runtime_dir again under its old name, with the same scoreboard in it; raises ``OSError``.

        New processes reach the scoreboard by our descriptor, because a file without a name cannot get one again.
        Pusher and monitor notice by themselves that their sockets are gone, and listen anew.
        """
        own = f"/proc/{os.getpid()}/fd/{self.board.descriptor}"
        os.stat(own)  # no such thing on this system: then nothing is promised
        with suppress(FileExistsError):
            os.mkdir(self.runtime_dir.path, 0o700)
            os.close(self._lock)
            self._lock = _lock(self.runtime_dir.path)
        with suppress(FileNotFoundError):
            os.unlink(self.runtime_dir.scoreboard_path)
        os.symlink(own, self.runtime_dir.scoreboard_path)

    def close(self) -> None:
        """Leave nothing behind."""
        self.board.close()
        self.runtime_dir.remove()
        os.close(self._lock)


def parent_dirs() -> Iterator[Path]:
    """Where a runtime_dir may be made, the best first."""
    shared = shared_memory_dir()
    if shared is not None:
        yield Path(shared)
    with suppress(OSError):  # no runtime_dir for temporary files can be written to
        usual = tempfile.gettempdir()
        yield Path(usual if len(os.fsencode(usual)) <= MAX_PARENT_BYTES else "/tmp")  # noqa: S108  private inside


def _create(place: Path, rows: int) -> tuple[int, Path, Scoreboard]:
    """A locked runtime_dir with a scoreboard. It gets its name when it is locked, so that nobody takes it for forsaken."""
    new = tempfile.mkdtemp(prefix=UNLOCKED_PREFIX, dir=place)
    try:
        lock = _lock(new)
        path = place / f"{PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"
        os.rename(new, path)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    try:
        return lock, path, Scoreboard.create(path / "scoreboard", rows)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        raise


def _lock(path: str | Path) -> int:
    """Hold a shared lock for as long as the returned descriptor, or a copy in a forked child, is open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # a file system without locks: there nobody sweeps either
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_abandoned(place: Path) -> None:
    """Remove the directories of this user in which nobody lives any more."""
    for old in place.glob(f"{PREFIX}-*-*"):
        with suppress(OSError):
            if old.stat().st_uid == os.getuid() and _is_abandoned(old):
                shutil.rmtree(old, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
