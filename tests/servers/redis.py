"""Redis of our own: one server, a master and its replica under three Sentinels, a Cluster of three nodes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import ClassVar, Self

from tests.servers.base import BOOT_TIMEOUT, Server, free_port


class RedisServer(Server):
    """``redis-server`` without persistence, or with an append-only file (``aof=True``) that survives a kill.

    ``arguments`` are added to its command line.
    """

    name: ClassVar[str] = "redis"
    programs: ClassVar[tuple[str, ...]] = ("redis-server", "redis-cli")
    drivers: ClassVar[tuple[str, ...]] = ("redis",)
    package: ClassVar[str] = "redis-server"

    def __init__(self, *arguments: str, aof: bool = False) -> None:
        super().__init__()
        self.arguments = arguments
        self.aof = aof
        self.port = free_port()
        self.socket = self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Redis makes what it needs."""

    def command(self) -> list[str]:
        command = [self.program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "", "--daemonize", "no"]
        # Every write reaches the disk before it is answered: what the client was told, a power cut cannot unsay.
        return [*command, *(["--appendonly", "yes", "--appendfsync", "always"] if self.aof else []), *self.arguments]

    def answers(self) -> bool:
        # "-e": an error, such as "still loading", is an exit code and not only a line of text.
        return self.succeeds(self.program("redis-cli"), "-e", "-p", str(self.port), "ping")

    def flush(self) -> None:
        """Forget everything, so that the next test finds an empty server."""
        self.run(self.program("redis-cli"), "-e", "-p", str(self.port), "flushall")

    def says(self, *command: str) -> str:
        """What the server answers to a command, as ``redis-cli`` prints it."""
        whole = [self.program("redis-cli"), "-e", "-p", str(self.port), *command]
        return subprocess.run(whole, check=True, capture_output=True, text=True).stdout.strip()


class _Sentinel(RedisServer):
    """One of the three: it watches ``master``, and has to be sure of its death after half a second."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.master = master

    def prepare(self) -> None:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {Sentinels.master_name} 127.0.0.1 {self.master.port} 2",
            f"sentinel down-after-milliseconds {Sentinels.master_name} 500",
            f"sentinel failover-timeout {Sentinels.master_name} 3000",
        ]
        (self.folder / "sentinel.conf").write_text("\n".join([*lines, ""]))

    def command(self) -> list[str]:
        return [self.program("redis-server"), str(self.folder / "sentinel.conf"), "--sentinel"]


class Sentinels:
    """A master, its replica, and three Sentinels that put the one in the place of the other."""

    master_name = "orders"

    def __init__(self) -> None:
        self.master = RedisServer()
        self.replica = RedisServer("--replicaof", "127.0.0.1", str(self.master.port))
        self.sentinels = [_Sentinel(self.master) for _ in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.master_name}/0"

    def start(self) -> Self:
        self.master.start()
        self.replica.start()
        for each in self.sentinels:
            each.start()
        _wait_until(self._know_each_other, "the Sentinels should know each other and the replica")
        return self

    def _know_each_other(self) -> bool:
        for each in self.sentinels:
            said = each.says("sentinel", "master", self.master_name).splitlines()
            known = dict(zip(said[::2], said[1::2], strict=True))
            if (known["num-other-sentinels"], known["num-slaves"], known["flags"]) != ("2", "1", "master"):
                return False
        return "state=online" in self.master.says("info", "replication")

    def stop(self) -> None:
        for each in (*self.sentinels, self.replica, self.master):
            each.stop()


class RedisCluster:
    """Three masters that share the slots, without replicas."""

    def __init__(self) -> None:
        self.nodes = [self._node() for _ in range(3)]

    @staticmethod
    def _node() -> RedisServer:
        return RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port()))

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        for node in self.nodes:
            node.start()
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        first = self.nodes[0]
        first.run(first.program("redis-cli"), "--cluster", "create", *places, "--cluster-yes")
        _wait_until(lambda: all(self._agrees(node) for node in self.nodes), "the nodes should agree")
        return self

    @staticmethod
    def _agrees(node: RedisServer) -> bool:
        return "cluster_state:ok" in node.says("cluster", "info")

    def owner(self, slot: int) -> RedisServer:
        """The node that serves a slot."""
        return next(node for node in self.nodes if slot in self._slots(node))

    @staticmethod
    def _slots(node: RedisServer) -> set[int]:
        (line,) = [line for line in node.says("cluster", "nodes").splitlines() if "myself" in line]
        ranges = [each.partition("-") for each in line.split()[8:] if not each.startswith("[")]
        return {slot for low, _, high in ranges for slot in range(int(low), int(high or low) + 1)}

    def move(self, slot: int, target: RedisServer) -> None:
        """Hand a slot with all that is in it from one living node to another, key by key, as an operator would."""
        source = self.owner(slot)
        ids = {node.port: node.says("cluster", "myid") for node in (source, target)}
        target.says("cluster", "setslot", str(slot), "importing", ids[source.port])
        source.says("cluster", "setslot", str(slot), "migrating", ids[target.port])
        while keys := source.says("cluster", "getkeysinslot", str(slot), "1").split():
            source.says("migrate", "127.0.0.1", str(target.port), keys[0], "0", "5000")
        for node in (target, source, *self.nodes):
            node.says("cluster", "setslot", str(slot), "node", ids[target.port])

    def with_replica(self, node: RedisServer) -> RedisServer:
        """A new node that has all that this one has, and may take its place."""
        replica = self._node().start()
        self.nodes.append(replica)
        name = node.says("cluster", "myid")
        replica.says("cluster", "meet", "127.0.0.1", str(node.port), node.arguments[-1])
        _wait_until(lambda: name in replica.says("cluster", "nodes"), "the nodes should have met")
        _wait_until(lambda: replica.succeeds(*self._replicate(replica, name)), "it should know whom to follow")
        _wait_until(
            lambda: "master_link_status:up" in replica.says("info", "replication"), "the replica should have everything"
        )
        return replica

    @staticmethod
    def _replicate(replica: RedisServer, name: str) -> list[str]:
        return [replica.program("redis-cli"), "-e", "-p", str(replica.port), "cluster", "replicate", name]

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def _wait_until(condition: Callable[[], bool], because: str, within: float = BOOT_TIMEOUT) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {within:g} seconds: {because}")
        time.sleep(0.05)
