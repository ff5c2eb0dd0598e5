"""Packages of a call, and arguments that the function does not take."""

from __future__ import annotations

import re
from typing import Any

import pytest

from django_cluster.core.call_options import split_options
from django_cluster.core.messages import DEFAULT_OPTIONS, TaskOptions
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages, checked_packages
from django_cluster.errors import UnknownFunction, UnsuitableFunction
from tests.sample import tasks


def test_each_call_is_a_package_of_its_own() -> None:
    packages = build_packages(tasks.add, [(1, 2), (3, 4)], {}, TaskOptions(group="letters"))

    assert [package.args for package in packages] == [(1, 2), (3, 4)]
    assert len({package.id for package in packages}) == 2
    assert {package.header.func for package in packages} == {"tests.sample.tasks.add"}
    assert {package.header.options.group for package in packages} == {"letters"}


def test_a_package_is_called_by_its_own_name_or_by_the_one_given() -> None:
    (own,) = build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS)
    (given,) = build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS, "census")

    assert own.header.name.count("-") == 3
    assert given.header.name == "census"


def test_a_name_that_no_column_could_hold_is_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match="100 characters"):
        build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS, "x" * 101)


def test_a_function_that_nobody_could_find_is_refused_at_the_door() -> None:
    with pytest.raises(UnknownFunction):
        build_packages(lambda: None, [()], {}, DEFAULT_OPTIONS)


# ── arguments that the function does not take ────────────────────────────────────────────────────


def send(number: int, timeout: float = 1) -> None:
    """Has a parameter with the name of an option."""


@pytest.mark.parametrize(
    ("args", "own", "given", "sentence"),
    [
        ((7,), {"queue": "slow"}, {"max_attempts": 1}, "(did you mean the option 'queue', which belongs in q_opt"),
        ((7,), {"countdown": 3}, {}, "(did you mean the option 'delay', which belongs in q_options?)."),
        ((7,), {"weather": "fine"}, {}, "unexpected keyword argument 'weather'."),
        ((), {}, {}, "missing a required argument: 'number'."),
        ((1, 2, 3), {}, {}, "too many positional arguments"),
    ],
)
@pytest.mark.parametrize("func", [send, f"{__name__}.send"], ids=["function", "path"])
def test_arguments_that_the_function_does_not_take_are_refused(
    func: Any, args: tuple[Any, ...], own: dict[str, Any], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{__name__}.send cannot be called so: ")) as raised:
        checked_packages(func, [args], own, given, build_options(given))

    assert sentence in str(raised.value)


def needs_a_group(group: str) -> None:
    """Is not given one, when the keyword is taken for an option."""


def test_an_option_that_the_function_wanted_is_explained() -> None:
    own, given = split_options({"group": "letters"})

    with pytest.raises(
        TypeError, match=re.escape("'group' was taken for an option of the task: beside q_options={...}")
    ):
        checked_packages(needs_a_group, [()], own, given, build_options(given))


def test_one_call_of_many_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="too many"):
        checked_packages(send, [(1,), (1, 2), (1, 2, 3)], {}, {}, DEFAULT_OPTIONS)


def test_a_hook_that_cannot_be_called_with_a_task_is_refused() -> None:
    with pytest.raises(TypeError, match=r"called with the finished task: .*nothing cannot be called"):
        checked_packages(send, [(1,)], {}, {"hook": tasks.nothing}, DEFAULT_OPTIONS)
    with pytest.raises(UnsuitableFunction, match="async"):
        checked_packages(send, [(1,)], {}, {"hook": tasks.generate_later}, DEFAULT_OPTIONS)
