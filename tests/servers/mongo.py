"""Servers that speak MongoDB's wire protocol: FerretDB (Go) and NX-27017 (Python), both over SQLite.

MongoDB itself is in no archive of packages that the tests could install it from; where ``MONGO_URL`` names one,
the contract is tried against it, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Server, free_port

SOURCE = Path(__file__).parent / "ferretdb"
BUILT = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "django_cluster" / "ferretdb"


class WireServer(Server):
    """What both have in common: an address, and a client that asks whether it answers."""

    drivers: ClassVar[tuple[str, ...]] = ("pymongo",)

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        try:
            with MongoClient[dict[str, object]](self.url, serverSelectionTimeoutMS=200) as client:
                return bool(client.admin.command("ping"))
        except PyMongoError:
            return False


class FerretServer(WireServer):
    """FerretDB with its SQLite backend: built with Go when it is first needed, and kept in the user's cache."""

    name: ClassVar[str] = "ferretdb"
    programs: ClassVar[tuple[str, ...]] = ("go",)
    package: ClassVar[str] = "golang-go"
    extra_paths: ClassVar[tuple[str, ...]] = ("usr/local/go/bin",)

    def prepare(self) -> None:
        (self.folder / "data").mkdir()
        build(self.program("go"))

    def command(self) -> list[str]:
        return [str(built()), f"127.0.0.1:{self.port}", str(self.folder / "data")]


class NxServer(WireServer):
    """NX-27017, which is young and one person's: a second opinion on what the protocol allows."""

    name: ClassVar[str] = "nx-27017"
    programs: ClassVar[tuple[str, ...]] = ()
    drivers: ClassVar[tuple[str, ...]] = ("pymongo", "nx_27017")
    package: ClassVar[str] = "none; pip install nx-27017"

    def prepare(self) -> None:
        """It makes what it needs."""

    def command(self) -> list[str]:
        own = f"import sys; from nx_27017.nx_27017 import main; sys.argv[0] = {self.name!r}; sys.exit(main())"
        files = ["--db", str(self.folder / "db"), "--log-file", str(self.log), "--pid-file", str(self.folder / "pid")]
        return [sys.executable, "-c", own, *files, "--port", str(self.port)]


def built() -> Path:
    """The program; another source is another file."""
    source = b"".join(file.read_bytes() for file in sorted(SOURCE.iterdir()))
    return BUILT.with_name(f"ferretdb-{hashlib.sha256(source).hexdigest()[:12]}")


def build(go: str) -> None:
    """Compile it, unless that was done before. Who comes while another does it waits for that one."""
    program = built()
    program.parent.mkdir(parents=True, exist_ok=True)
    with program.with_name(f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            return
        unfinished = program.with_name(f"{program.name}.{os.getpid()}")
        subprocess.run([go, "build", "-o", str(unfinished), "."], check=True, cwd=SOURCE, stdout=sys.stderr)
        shutil.move(unfinished, program)


if __name__ == "__main__":
    if go := FerretServer.find("go"):
        build(go)
