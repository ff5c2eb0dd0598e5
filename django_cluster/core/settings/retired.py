"""Settings of this package that have another name now. The old name is refused, with a sentence that names the new one.

No key of Django-Q is ever listed here: those stay known.
"""

from __future__ import annotations

RETIRED = {
    "claim_check": "offload_large_payloads",
    "heartbeat": "heartbeat_interval",
    "keep_days": "retention_days",
    "poison_limit": "max_worker_deaths",
    "timeout_grace": "kill_grace",
}
"""Old key → new key."""


def renamed(path: str, new: str) -> str:
    """The sentence for a key, or an environment variable, that was found under its old name."""
    return f"{path} has been renamed: it is now {new}."
