"""Compositions: tasks that belong together, and what follows when one of them has ended. Decided purely.

A *member* is one task at its place in a composition. What is noted of it belongs to the place and not to the
task, so that a failed member that is sent again, even under a new id, completes its composition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django_cluster.core.call_options import split_options, with_declared
from django_cluster.core.messages import Outcome, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import checked_packages
from django_cluster.core.task_ids import derived_id, task_name


class MemberRole(StrEnum):
    """What a member is to its composition."""

    LINK = "link"
    """Part of a chain, which ends where a link fails."""
    LENIENT_LINK = "lenient link"
    """Part of a chain that continues when a link has failed for good."""
    CALL = "call"
    """Part of a group."""
    ITEM = "item"
    """Part of an iter: its result is kept until it is collected."""
    COLLECT = "collect"
    """What collects the results of an iter."""
    FOLLOW = "follow"
    """What follows a group."""


_ROLES = {role.value: role for role in MemberRole}
COUNTED = frozenset({MemberRole.CALL, MemberRole.ITEM})
"""Roles whose ends are counted by their group."""
COLLECT_POSITION, SUCCESS_POSITION, FAILURE_POSITION = -1, -2, -3
"""What follows has a place too, before those of the members."""


CLAIM_EXPIRES_AFTER = timedelta(seconds=10)
"""After which another recorder that is given the same message takes over an unsent step."""


class Membership(NamedTuple):
    """The place of a task in a composition."""

    of: str
    """The id of the composition."""
    position: int
    role: MemberRole
    again: bool = False
    """Its message may have been sent before: a worker asks first whether it has succeeded."""

    @property
    def key(self) -> str:
        """Names the place; two tasks that have the same one are the same member."""
        return f"{self.of}#{self.position}"

    @property
    def wire(self) -> tuple[str, int, str] | tuple[str, int, str, bool]:
        """The value of ``TaskOptions.member``."""
        plain = (self.of, self.position, self.role.value)
        return (*plain, True) if self.again else plain


def membership_of(member: Sequence[Any] | None) -> Membership | None:
    """What ``TaskOptions.member`` says; None for no member, and for a role that a later version has added."""
    if not member:
        return None
    of, position, role, *more = member
    return Membership(of, position, _ROLES[role], bool(more and more[0])) if role in _ROLES else None


def goes_on(role: MemberRole, *, success: bool) -> bool:
    """Whether the next link of a chain is to be sent; no other role has a next."""
    return success if role is MemberRole.LINK else role is MemberRole.LENIENT_LINK


class PendingStep(StrEnum):
    """What remains to be done for a member whose end is recorded."""

    NOTHING = ""
    NEXT = "next"
    """The rest of its chain is to be sent."""
    SUCCESS = "success"
    """It was the last of a group, all have succeeded, and what then follows is to be sent."""
    FAILURE = "failure"
    """It was the last of a group, some have failed, and what then follows is to be sent."""
    COUNT = "count"
    """It is not counted yet: its group was not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """A package that is to be sent because a member has ended."""

    key: str
    """``Membership.key`` of the member."""
    kind: PendingStep
    payload: str = field(repr=False)
    """The package, signed by the process that sent the composition."""
    chain: tuple[str, ...] = field(default=(), repr=False)
    """What follows that package."""
    again: bool = False
    """Whether it may have been sent before."""

    def labelled(self, header: TaskHeader, now: float) -> TaskHeader:
        """The label under which the package goes: enqueued now, with the rest of its chain."""
        options = header.options
        if self.kind is PendingStep.NEXT:
            options = replace(options, chain=self.chain)
        place = membership_of(options.member)
        if self.again and place is not None:
            options = replace(options, member=place._replace(again=True).wire)
        return replace(header, enqueued_at=now, options=options)


class NextSteps(NamedTuple):
    """What follows after the ends of some members were recorded."""

    steps: Sequence[Step]
    """To be sent by the caller."""
    waiting: frozenset[str] = frozenset()
    """Ids of tasks whose step another recorder has claimed: their messages have to come back, in case it dies."""


def next_link(key: str, outcome: Outcome, *, again: bool = False) -> Step | None:
    """The step from one link of a chain to the next."""
    chain: Sequence[str] = outcome.options.get("chain") or ()
    return Step(key, PendingStep.NEXT, chain[0], tuple(chain[1:]), again) if chain else None


def may_have_succeeded(header: TaskHeader, attempt: int) -> bool:
    """Whether this member is worth the question: most messages come once, and the first time."""
    member = header.options.member
    return member is not None and (attempt > 1 or len(member) > 3)


def succeeded(outcome: Outcome) -> bool:
    return outcome.status in (OutcomeStatus.SUCCESS, OutcomeStatus.DUPLICATE)


# ── calls → packages ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A function and what to call it with; options among the keywords, as ``async_task`` takes them."""

    func: Callable[..., Any] | str
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)


def as_task_call(item: Any) -> TaskCall:
    """Accept a ``TaskCall``, a function, or a tuple (function[, args[, kwargs]]). Raises ``TypeError``."""
    if isinstance(item, TaskCall):
        return item
    if callable(item) or isinstance(item, str):
        return TaskCall(item)
    if isinstance(item, tuple | list) and 1 <= len(item) <= 3:
        func, args, kwargs = (*item, (), {})[:3] if len(item) != 2 else (*item, {})
        if isinstance(args, Mapping) or not isinstance(args, Iterable) or isinstance(args, str | bytes):
            raise TypeError(f"The arguments of a call are a tuple, not {args!r}.")
        if not isinstance(kwargs, Mapping):
            raise TypeError(f"The keywords of a call are a dict, not {kwargs!r}.")
        return TaskCall(func, tuple(args), dict(kwargs))
    raise TypeError(f"A call is a function, or a tuple of a function, its arguments and its keywords, not {item!r}.")


COMPOSITION_OPTIONS = ("broker", "sync", "on_commit", "chain", "iter_count", "iter_cached")
"""Options that hold for a composition as a whole."""


def package_of_call(call: TaskCall) -> tuple[TaskPackage, bool]:
    """A call as a package, and whether it was given a name.

    Raises ``TypeError``, ``ValueError``, ``UnknownFunction``.
    """
    own, given = split_options(call.kwargs, call.func)
    for option in COMPOSITION_OPTIONS:
        if given.get(option) is not None and not (option == "broker" and isinstance(given[option], str)):
            raise TypeError(f"The option {option!r} holds for a composition as a whole, not for one of its calls.")
    options = build_options(with_declared(call.func, given, COMPOSITION_OPTIONS))
    package = checked_packages(call.func, [call.args], own, given, options)[0]
    return package, given.get("task_name") is not None


def as_member(package: TaskPackage, place: Membership, *, named: bool = False, **options: Any) -> TaskPackage:
    """The package at its place, with these options. Its id is fixed by that: sending it twice is no second task.

    The members of one composition have one correlation id: that of its sender, or else its own id.
    """
    task_id = member_id(place)
    name = package.header.name if named else task_name(task_id)
    correlation_id = package.header.options.correlation_id or place.of
    return package.with_id(task_id, name).with_options(member=place.wire, correlation_id=correlation_id, **options)


def member_id(place: Membership) -> str:
    """The task id of a member; what collects an iter bears the id of the iter itself."""
    return place.of if place.role is MemberRole.COLLECT else derived_id("member", place.of, place.position)


def packages_of_links(calls: Iterable[Any], like: TaskOptions) -> list[TaskPackage]:
    """Calls as packages that follow another, of the same group; ``cached`` is as there unless they say otherwise."""
    packages = []
    for item in calls:
        package, _ = package_of_call(as_task_call(item))
        cached = package.header.options.cached
        packages.append(package.with_options(group=like.group, cached=like.cached if cached is None else cached))
    return packages


def in_chain(packages: Sequence[TaskPackage], home: str, *, lenient: bool = False) -> list[TaskPackage]:
    """The packages as links of one chain, which has the id of the first; ids and names stay as they are.

    ``home``: the queue of the links that name none, where others do: it must not depend on the link before.
    """
    role = MemberRole.LENIENT_LINK if lenient else MemberRole.LINK
    of = packages[0].id
    travels = any(package.header.options.queue for package in packages)
    return [
        package.with_options(
            member=Membership(of, position, role).wire,
            correlation_id=package.header.options.correlation_id or packages[0].header.options.correlation_id or of,
            queue=(package.header.options.queue or home) if travels else None,
        )
        for position, package in enumerate(packages)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """What is to be known of a group before its first member is sent."""

    id: str
    total: int
    on_success: TaskPackage | None = None
    """What follows when all have succeeded."""
    on_failure: TaskPackage | None = None
    """What follows when all have ended and some have failed."""
