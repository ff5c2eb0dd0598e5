"""Which errors of a Redis server pass, which are permanent, and which say that another server is the primary."""

from __future__ import annotations

import re

from redis import exceptions as errors

TRANSIENT = re.compile(
    r"(?:^|-)(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN|UNBLOCKED)\b"
)
"""First words of a server that will be able again: still loading, failing over, full. Servers before version 7 put the
words of what a script has met behind a dash, in the midst of a sentence."""

NOT_PRIMARY = re.compile(
    r"(?:^|-)(CLUSTERDOWN|LOADING|MASTERDOWN|NOREPLICAS|READONLY|UNBLOCKED)\b|max number of clients reached"
)
"""What a server says that has done nothing, and is perhaps no longer the one to ask: another has taken its place behind
the same address, and the old one keeps its connections open."""

NOT_PRIMARY_ERRORS = (errors.ReadOnlyError, errors.BusyLoadingError, errors.ClusterDownError)

TRANSIENT_ERRORS = (
    *(errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.OutOfMemoryError),
    *(errors.RedisClusterException, errors.ClusterError),
)

# AuthenticationError is a ConnectionError to redis-py; but a wrong password does not get better by waiting.
PERMANENT_ERRORS = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)

CLIENT_REPR = re.compile(r"<redis\.client\..*?>\)>\)> - ")
"""A thousand characters for each Sentinel that knows no master, in front of the reason."""

ANY_ERROR = (errors.RedisError, errors.RedisClusterException)


def is_not_primary(error: Exception) -> bool:
    """Whether the answer says that another server may have to be asked, on a new connection; nothing was done."""
    return isinstance(error, NOT_PRIMARY_ERRORS) or NOT_PRIMARY.search(str(error)) is not None


class NotPrimary(errors.ConnectionError):
    """A server has answered that it cannot do what a primary does; the same is tried again on a new connection."""
