"""The connections to the nodes of a Redis Cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis import exceptions as errors
from redis.cluster import RedisCluster

from django_cluster.brokers.redis_clients import build_cluster, defaults
from django_cluster.brokers.redis_connection import MAX_BLOCK_SECONDS, RedisConnection, address_list, reject_bad_options
from django_cluster.brokers.redis_errors import ANY_ERROR, is_not_primary

CLUSTER_DOWN_SECONDS = 0.5
"""Seconds for which a Cluster is asked again that says it is down: while a slot moves, it may say so for a moment."""


class RedisClusterConnection(RedisConnection):
    """One reused client of all nodes of a Redis Cluster. redis-py finds the node, and follows a slot that moves."""

    clustered = True

    def _build(self) -> Any:
        with reject_bad_options():
            return build_cluster(self._options)

    def call(self, *commands: Sequence[Any], key: str = "", again: bool = True) -> list[Any]:
        """One after the other: where a slot moves, each may have to be asked of another node."""
        *before, last = commands
        return [*(self._asked(command) for command in before), self._asked(last, "" if again else key)]

    def _asked(self, command: Sequence[Any], key: str = "") -> Any:
        """``key``: it is asked once, of the node that has it."""
        client, until = self.client, time.monotonic() + CLUSTER_DOWN_SECONDS
        while True:
            # What is asked of a node by its name is not asked of another when it fails.
            where = {"target_nodes": client.get_node_from_key(key)} if key else {}
            try:
                return client.execute_command(*command, **where)
            except errors.ResponseError as error:
                if not is_not_primary(error) or time.monotonic() > until:
                    raise
                if not isinstance(error, errors.ClusterDownError):
                    self.drop_idle()

    def drop_idle(self) -> None:
        """Reconnect to each node, and refresh the slot table of the Cluster."""
        client = self.client
        for node in client.get_nodes():
            if node.redis_connection is not None:
                with suppress(TypeError):
                    node.redis_connection.connection_pool.disconnect(inuse_connections=False)
        with suppress(*ANY_ERROR):  # no node answers: the next call raises
            client.nodes_manager.initialize()

    @property
    def max_block(self) -> float:
        limit = self._options.get("kwargs", {}).get("socket_timeout", defaults()["socket_timeout"])
        return MAX_BLOCK_SECONDS if limit is None else min(MAX_BLOCK_SECONDS, limit * 0.6)

    @property
    def address(self) -> str:
        return f"the Cluster {address_list(self._options['nodes'])}"

    def _configuration(self, names: Sequence[str]) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self.client.config_get(*names, target_nodes=RedisCluster.RANDOM)
        return said

    def version(self) -> str:
        return self._version({"target_nodes": RedisCluster.RANDOM})

    def _disconnect(self, client: Any) -> None:
        client.close()


def open_connection(options: Mapping[str, Any]) -> RedisConnection:
    """The way that fits the shape; opens no connection yet."""
    return RedisClusterConnection(options) if "nodes" in options else RedisConnection(options)
