"""A MariaDB of our own, on a unix socket."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, ClassVar

from tests.servers.base import Server

INSTALLATIONS = 3
"""Attempts to make the data folder. Where several are made at once, about one in ten fails ("Installation of system
tables failed") for no reason that its log names, and the next succeeds."""


class MariaDBServer(Server):
    """A small server with InnoDB's real durability, without any of the machine's own configuration."""

    name: ClassVar[str] = "mariadb"
    programs: ClassVar[tuple[str, ...]] = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-admin", "mariadb-dump")
    drivers: ClassVar[tuple[str, ...]] = ("MySQLdb",)
    package: ClassVar[str] = "mariadb-server"
    account: ClassVar[str | None] = "mysql"
    extra_paths: ClassVar[tuple[str, ...]] = ("usr/sbin", "opt/homebrew/opt/mariadb*/bin")

    def __init__(self) -> None:
        super().__init__()
        self._dumps: dict[str, bytes] = {}
        """Of databases that are templates."""

    def prepare(self) -> None:
        options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        data = self.folder / "data"
        for left in reversed(range(INSTALLATIONS)):
            try:
                self.run(self.program("mariadb-install-db"), *options, f"--datadir={data}")
                return
            except subprocess.CalledProcessError:
                shutil.rmtree(data, ignore_errors=True)
                if not left:
                    raise

    def command(self) -> list[str]:
        return [
            self.program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-networking",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
        ]

    @property
    def socket(self) -> str:
        return str(self.folder / "mariadb.sock")

    def answers(self) -> bool:
        return self.succeeds(self.program("mariadb-admin"), *self._address(), "ping")

    def create_database(self, name: str, template: str | None = None) -> None:
        """``template``: a database whose tables the new one has, too."""
        self._sql(f"CREATE DATABASE `{name}`")
        if template is not None:
            if template not in self._dumps:
                dump = [self.program("mariadb-dump"), *self._address(), template]
                self._dumps[template] = subprocess.run(dump, check=True, capture_output=True).stdout
            load = [self.program("mariadb"), *self._address(), name]
            subprocess.run(load, input=self._dumps[template], check=True, capture_output=True)

    def drop_database(self, name: str) -> None:
        self._sql(f"DROP DATABASE IF EXISTS `{name}`")

    def database(self, name: str = "mysql") -> dict[str, Any]:
        """An entry for Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": name,
            "USER": "root",
            "HOST": self.socket,
        }

    def _address(self) -> list[str]:
        return ["--no-defaults", "--user=root", f"--socket={self.socket}"]

    def _sql(self, statement: str) -> None:
        self.run(self.program("mariadb"), *self._address(), "--execute", statement)
