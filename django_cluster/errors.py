"""Every exception that django_cluster raises on purpose.

::

    ClusterError
    ├── BrokerError
    │   ├── BrokerUnavailable    the server cannot be reached (try again later)
    │   └── BrokerRefused        the server answered, and said no
    ├── StoreUnavailable         the result store cannot be reached (try again later)
    ├── PackageError             a message that is not one of ours, or no longer readable
    │   ├── BadSignature         wrong key, wrong cluster name, or tampered with
    │   └── UnknownFormat        signed, but written by a version that we do not know
    ├── NotSerializable          arguments or a result that the serializer cannot carry
    ├── TaskFailed               asked for with ``sync``: the task raised
    ├── NotFinished              the task has not ended yet
    ├── NotAvailableYet          a name that is reserved, and not built yet
    └── CrashLoop                children died faster than they could be replaced

    TaskTimeout (BaseException)  raised inside a task that overruns its soft limit

An exception without a message says the first line of its docstring.
"""

from __future__ import annotations


class ClusterError(Exception):
    """Something went wrong in django_cluster."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class BrokerError(ClusterError):
    """The broker did not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached."""


class BrokerRefused(BrokerError):
    """The broker answered, and refused."""


class StoreUnavailable(ClusterError):
    """The result store cannot be reached."""


class PackageError(ClusterError):
    """This message is not a task package that can be read here."""


class BadSignature(PackageError):
    """The signature does not match: another key, another cluster name, or a changed message."""


class UnknownFormat(PackageError):
    """The message is signed with our key, but its format is not known to this version."""


class NotSerializable(ClusterError):
    """A value cannot be carried by the configured serializer."""


class TaskFailed(ClusterError):
    """The task failed."""


class NotFinished(ClusterError):
    """The task has not finished yet."""


class NotAvailableYet(ClusterError, NotImplementedError):
    """This name is reserved; the feature behind it is not available yet."""


class CrashLoop(ClusterError):
    """Processes of the cluster died faster than they could be replaced."""


class TaskTimeout(BaseException):
    """The task ran longer than its time-out.

    Not an ``Exception``, so that an ordinary ``except Exception`` in the task does not swallow it.
    """
