"""Settings of a Redis server that may lose messages."""

from __future__ import annotations

from collections.abc import Mapping


def configuration_warnings(configuration: Mapping[str, str]) -> list[str]:
    """Warnings about the configuration of the server; none if it does not tell its configuration (an ACL may forbid
    it)."""
    found = []
    policy = configuration.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and configuration.get("maxmemory", "0") != "0":
        found.append(f"Redis deletes messages when its memory is full (maxmemory-policy {policy}); choose noeviction.")
    if configuration.get("appendonly") == "no" and not configuration.get("save"):
        found.append("Redis keeps nothing on disk (appendonly no, save empty): a restart forgets every message.")
    return found
