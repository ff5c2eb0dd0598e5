"""The runtime directory of a cluster: created with room for the whole scoreboard, restored when it is removed.

A sentinel holds a lock (``flock``) on its directory, which ends with the process, however that ends. A directory
without a lock is left over from a killed cluster. A process id would say less: in containers it is nearly always 1, and
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
from django_cluster.core.events.cluster import RUNTIME_DIR_LOST, RUNTIME_DIR_RESTORED
from django_cluster.errors import ClusterError

PREFIX = "qcluster"
UNLOCKED_PREFIX = f".{PREFIX}-new-"
"""Prefix of a directory that is not locked yet, and so must not be taken for an abandoned one."""
MAX_PARENT_BYTES = 60
"""Bytes of the path of the parent directory: the path of a unix socket has about 100 at most."""


class RuntimeDirOwner:
    """A directory that only this user can enter, its scoreboard, and the lock that shows that it is in use."""

    def __init__(self, rows: int) -> None:
        """Remove what killed clusters of this user have left, and create a new directory.

        Raises ``ClusterError`` where no parent directory has room for a scoreboard of ``rows`` rows.
        """
        self._lost = False
        refusals = []
        for parent in parent_dirs():
            remove_abandoned(parent)
            try:
                self._lock, path, self.board = _create(parent, rows)
            except OSError as error:
                refusals.append(f"{parent}: {error.strerror or error}")
            else:
                self.runtime_dir = RuntimeDir(path, secrets.token_bytes(32), rows, str(uuid.uuid4()))
                return
        size = (rows + 1) * ROW_BYTES / 1e6
        reasons = "; ".join(refusals) or "no directory"
        raise ClusterError(f"There is no room for the scoreboard ({size:.1f} MB): {reasons}")

    def is_lost(self) -> bool:
        """Whether another program has removed the directory, or the scoreboard in it."""
        return not os.path.exists(self.runtime_dir.scoreboard_path)

    def restore_if_lost(self) -> None:
        """Restore what another program has removed. Where that fails, it is logged once, and tried again next time."""
        if not self.is_lost():
            return
        path = self.runtime_dir.path
        try:
            self.restore()
        except OSError as error:
            if not self._lost:
                RUNTIME_DIR_LOST.log(path=path, error=error)
            self._lost = True
        else:
            self._lost = False
            RUNTIME_DIR_RESTORED.log(path=path)

    def restore(self) -> None:
        """Create the directory again under its old name, with the same scoreboard in it. Raises ``OSError``.

        New processes reach the scoreboard by the descriptor of this process: a file that has lost its name cannot get
        one again. Pusher and monitor notice by themselves that their sockets are gone, and listen again.
        """
        own = f"/proc/{os.getpid()}/fd/{self.board.descriptor}"
        os.stat(own)  # raises on systems without /proc, where this cannot be done
        with suppress(FileExistsError):
            os.mkdir(self.runtime_dir.path, 0o700)
            os.close(self._lock)
            self._lock = _lock(self.runtime_dir.path)
        with suppress(FileNotFoundError):
            os.unlink(self.runtime_dir.scoreboard_path)
        os.symlink(own, self.runtime_dir.scoreboard_path)

    def close(self) -> None:
        """Remove the directory."""
        self.board.close()
        self.runtime_dir.remove()
        os.close(self._lock)


def parent_dirs() -> Iterator[Path]:
    """The directories in which a runtime directory can be created, the best first."""
    shared = shared_memory_dir()
    if shared is not None:
        yield Path(shared)
    with suppress(OSError):  # there is no directory for temporary files that can be written to
        usual = tempfile.gettempdir()
        yield Path(usual if len(os.fsencode(usual)) <= MAX_PARENT_BYTES else "/tmp")  # noqa: S108  private inside


def _create(parent: Path, rows: int) -> tuple[int, Path, Scoreboard]:
    """The lock, the path and the scoreboard of a new directory.

    It gets its name when it is locked, so that no other sentinel takes it for an abandoned one.
    """
    new = tempfile.mkdtemp(prefix=UNLOCKED_PREFIX, dir=parent)
    try:
        lock = _lock(new)
        path = parent / f"{PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"
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
    """A descriptor that holds a shared lock as long as it, or a copy in a forked child, is open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # a file system without locks, where nothing is taken for abandoned either
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_abandoned(parent: Path) -> None:
    """Remove the runtime directories of this user that no sentinel has locked."""
    for old in parent.glob(f"{PREFIX}-*-*"):
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
