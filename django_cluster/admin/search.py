"""Search, filters and paging that stay fast with millions of rows: no count of a table, no scan of all of it.

Conditions that an index answers (id, name, group, function, a span of time) apply to the whole table. Any other is
applied to the newest ``MAX_SEARCHED`` rows; the page says so where there are more, and offers to search all rows. An
export always searches all rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.formatting import number
from django_cluster.core.safe_text import storable
from django_cluster.models import Failure

MAX_LISTED = 10_000
"""The most rows that a list counts and pages through."""
MAX_SEARCHED = 100_000
"""The newest rows that are searched where no index helps."""
SAMPLE_SIZE = 1000
"""The newest rows from which a filter takes its choices."""
MAX_CHOICES = 10
"""Number of values that a filter offers: the most frequent ones."""

Rows = QuerySet[Any]

LOOKS_LIKE_AN_ID = re.compile(r"[0-9a-fA-F]{32}").fullmatch
QUALIFIED = re.compile(r'(correlation|id|name|group|func|queue|cluster|worker|error):("[^"]*"|\S+)').fullmatch

HELP = _(
    "Searches the ids, names, groups and functions of all tasks, other words in the newest 100,000. "
    "Also: func: error: name: group: worker: queue: id: correlation:"
)


if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]  # generic for type checkers only
else:
    AnyPaginator = Paginator


class CappedPaginator(AnyPaginator):
    """Counts up to ``MAX_LISTED``, which an index does in milliseconds, and no further."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list  # a queryset: the admin gives nothing else
        return int(rows.order_by().values("pk")[: MAX_LISTED + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_LISTED)

    @property
    def capped(self) -> bool:
        """Whether there are more rows than are listed."""
        return self._counted > MAX_LISTED


class FormattedCount(int):
    """The number of rows of a list, as pages write it: with separators, and a plus where there are more."""

    more = False

    def __str__(self) -> str:
        if number_format(1000) != "1000":  # where Django groups digits by itself, it groups those of this text
            return int.__repr__(self)
        return number(int(self), more=self.more)


class CappedChangeList(ChangeList):
    """A list that says whether its rows were counted to the end."""

    listed = ""
    """How many rows are listed, as pages write it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counted = FormattedCount(self.result_count)
        counted.more = bool(getattr(self.paginator, "capped", False))
        self.result_count = counted
        self.listed = number(counted)


class SearchScope:
    """The rows that one request searches without an index, and whether that left rows out."""

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self.limited = False

    @classmethod
    def of(cls, request: HttpRequest) -> SearchScope:
        """Return the scope of this request, which its search, its filters and its page share."""
        scope: SearchScope | None = getattr(request, "search_scope", None)
        if scope is None:
            exports = request.POST.get("action", "").startswith("export")
            scope = cls(everything=exports or request.GET.get(ScopeFilter.parameter_name) == ScopeFilter.ALL)
            request.search_scope = scope  # type: ignore[attr-defined]
        return scope

    def rows(self, rows: Rows) -> Rows:
        """The part of ``rows`` that is searched without an index; ``limited`` says whether some were left out."""
        if self._everything:
            return rows
        beyond = rows.order_by("-stopped_at").values_list("stopped_at", flat=True)[MAX_SEARCHED : MAX_SEARCHED + 1]
        moment = next(iter(beyond), None)
        if moment is None:
            return rows
        self.limited = True
        return rows.filter(stopped_at__gt=moment)


class ScopeFilter(admin.SimpleListFilter):
    """Offers to search all rows, which may be slow where no index helps."""

    ALL = "all"
    title, parameter_name = _("searched"), "rows"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(self.ALL, _("all rows"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        newest, everything = super().choices(changelist)
        yield {**newest, "display": _("the newest 100,000")}
        yield everything

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset


FieldSearch = Callable[[Rows, str, SearchScope], Rows]

ERROR = ("error_kind", "error_message")

# ── the search field ─────────────────────────────────────────────────────────────────────────────


def is_queryable(text: str) -> bool:
    """Whether a database accepts this text in a query: PostgreSQL refuses NUL."""
    return storable(text) == text


def search(rows: Rows, text: str, scope: SearchScope) -> Rows:
    """Apply the text of the search field: qualified words, and the rest as one text."""
    if not is_queryable(text):
        return rows.none()
    plain: list[str] = []
    for word in smart_split(text):
        if qualified := QUALIFIED(word):
            rows = FIELD_SEARCHES[qualified[1]](rows, _unquoted(qualified[2]), scope)
        else:
            plain.append(_unquoted(word))
    return _anything(rows, " ".join(plain), scope) if plain else rows


def _unquoted(word: str) -> str:
    return unescape_string_literal(word) if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def _anything(rows: Rows, text: str, scope: SearchScope) -> Rows:
    """Rows that an index finds exactly, or else rows with the text in their name, function, group or error."""
    if LOOKS_LIKE_AN_ID(text):
        return rows.filter(pk=text.lower())
    for field in ("name", "group", "func"):
        exact = rows.filter(**{field: text})
        if exact.order_by().exists():
            return exact
    fields = ("name", "func", "group", *(ERROR if issubclass(rows.model, Failure) else ()))
    return _containing(*fields)(rows, text, scope)


def _func(rows: Rows, value: str, scope: SearchScope) -> Rows:
    exact = rows.filter(func=value)
    return exact if exact.order_by().exists() else _containing("func")(rows, value, scope)


def _containing(*fields: str) -> FieldSearch:
    def ask(rows: Rows, value: str, scope: SearchScope) -> Rows:
        has = Q()
        for field in fields:
            has |= Q(**{f"{field}__icontains": value})
        return scope.rows(rows).filter(has)

    return ask


FIELD_SEARCHES: Mapping[str, FieldSearch] = {
    "id": lambda rows, value, _: rows.filter(pk=value.lower()),
    "correlation": lambda rows, value, _: rows.filter(Q(correlation_id=value) | Q(pk=value)),
    "name": lambda rows, value, _: rows.filter(name=value),
    "group": lambda rows, value, _: rows.filter(group=value),
    "cluster": lambda rows, value, scope: scope.rows(rows).filter(queue=value),
    "queue": lambda rows, value, scope: scope.rows(rows).filter(queue=value),
    "func": _func,
    "worker": _containing("worker"),
    "error": _containing(*ERROR),
}


# ── the filters at the side ──────────────────────────────────────────────────────────────────────


class RecentValuesFilter(admin.SimpleListFilter):
    """The most frequent values of a column in the newest rows, and not a ``DISTINCT`` over a whole table."""

    newest_first = "-stopped_at"
    indexed = False

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        rows = model_admin.get_queryset(request).order_by(self.newest_first)
        values = rows.values_list(self.parameter_name, flat=True)[:SAMPLE_SIZE]
        offered = {value for value, _count in Counter(value for value in values if value).most_common(MAX_CHOICES)}
        if chosen := request.GET.get(str(self.parameter_name)):
            offered.add(chosen)
        return [(value, self.word(value)) for value in sorted(offered)]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset
        if not is_queryable(str(self.value())):
            return queryset.none()
        rows = queryset if self.indexed else SearchScope.of(request).rows(queryset)
        return rows.filter(**{str(self.parameter_name): self.value()})

    def word(self, value: str) -> Any:
        """The label of a value."""
        return value


class GroupFilter(RecentValuesFilter):
    title, parameter_name, indexed = _("group"), "group", True


class QueueOfTaskFilter(RecentValuesFilter):
    title, parameter_name = _("queue"), "queue"


class FunctionFilter(RecentValuesFilter):
    title, parameter_name, indexed = _("function"), "func", True


class ErrorKindFilter(RecentValuesFilter):
    title, parameter_name = _("kind of error"), "error_kind"

    def word(self, value: str) -> str:
        """The class without its module."""
        return value.rpartition(".")[2]


class FinishedFilter(admin.SimpleListFilter):
    """The last hour, day or week; searches all rows, by an index."""

    title, parameter_name = _("finished"), "since"
    SPANS: Mapping[str, tuple[Any, timedelta]] = {
        "1h": (_("Last hour"), timedelta(hours=1)),
        "24h": (_("Last 24 hours"), timedelta(hours=24)),
        "7d": (_("Last 7 days"), timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, text) for name, (text, _span) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        chosen = self.SPANS.get(str(self.value()))
        return queryset.filter(stopped_at__gte=timezone.now() - chosen[1]) if chosen else queryset
