"""A MySQL of our own, on a unix socket. Debian's releases have none: ``scripts/install_mysql.sh`` brings one."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.servers.base import Server


class MySQLServer(Server):
    """A small server with InnoDB's real durability; the client is that of MariaDB, as on every Debian."""

    name: ClassVar[str] = "mysql"
    programs: ClassVar[tuple[str, ...]] = ("mysqld-for-tests", "mariadb", "mariadb-admin")
    drivers: ClassVar[tuple[str, ...]] = ("MySQLdb",)
    package: ClassVar[str] = "none in a release; scripts/install_mysql.sh"
    account: ClassVar[str | None] = "mysql"

    def prepare(self) -> None:
        self.run(*self.command(), "--initialize-insecure")

    def command(self) -> list[str]:
        return [
            self.program("mysqld-for-tests"),
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            "--secure-file-priv=NULL",
            "--skip-networking",
            "--mysqlx=OFF",
            "--performance-schema=OFF",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=64M",
            "--innodb-redo-log-capacity=16M",
        ]

    @property
    def socket(self) -> str:
        return str(self.folder / "mysql.sock")

    def answers(self) -> bool:
        return self.succeeds(self.program("mariadb-admin"), *self._address(), "ping")

    def create_database(self, name: str) -> None:
        self._sql(f"CREATE DATABASE `{name}`")

    def drop_database(self, name: str) -> None:
        self._sql(f"DROP DATABASE IF EXISTS `{name}`")

    def database(self, name: str = "mysql") -> dict[str, Any]:
        """An entry for Django's ``DATABASES``."""
        return {"ENGINE": "django.db.backends.mysql", "NAME": name, "USER": "root", "HOST": self.socket}

    def _address(self) -> list[str]:
        return ["--no-defaults", "--user=root", f"--socket={self.socket}"]

    def _sql(self, statement: str) -> None:
        self.run(self.program("mariadb"), *self._address(), "--execute", statement)
