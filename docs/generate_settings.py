"""Writes the reference pages of settings and checks from the tables in ``django_cluster/core``.

Run ``python -m docs.generate_settings`` from the root of the repository after changing either table; a
unit test fails while a page is behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django_cluster.core.settings.definition import SettingDefinition
from django_cluster.core.settings.problems import CATALOGUE
from django_cluster.core.settings.table import BROKER, CLUSTER, DELIVERY, PROCESSES, RESULTS, SCHEDULE, SIGNING

REFERENCE = Path(__file__).parent / "reference"

NOTICE = "<!-- Written by docs/generate_settings.py. Change the tables in django_cluster/core, and run it again. -->"

SETTINGS_HEAD = """\
# Settings

All settings are keys of one dict, `Q_CLUSTER`, in the Django settings. All are optional: without any,
the queue is in the `default` database.

```python
Q_CLUSTER = {
    "name": "myproject",
    "workers": 4,
    "timeout": 90,
    "redis": {"host": "localhost", "port": 6379, "db": 1},
}
```

- `None` means the default.
- Every value may be a function without arguments; it is called once, when the settings are first read. In
  the dict of a connection, hosts, users, passwords, tokens and keys may be functions too.
- A key that is not in `Q_CLUSTER` is read from the environment variable `Q_CLUSTER_` and the key in capitals:
  `Q_CLUSTER_WORKERS=4`. Dicts and lists are written as JSON, True and False also as `1`, `0`, `yes` and `no`.
- `Q_CLUSTER_NAME`, or `qcluster -n`, chooses the cluster to run: see `ALT_CLUSTERS`. The settings of such a cluster
  precede `Q_CLUSTER`, and those the environment. Of several brokers, the first in this order is used; two in the same
  place are an error.
- All mistakes are reported together: by `manage.py check`, and by `qcluster` before it starts. See
  [Checks](checks.md). `manage.py qinfo --config` shows the value of each setting, and where it comes from.
- Secrets are masked wherever settings are printed.
- The last column is for projects that used Django-Q: *New* settings do not exist there.
"""

CHECKS_HEAD = """\
# Checks

`manage.py check` (or `manage.py check --tag django_cluster`) looks at the [settings](settings.md), the
alternative clusters included. It opens no connection. Errors stop `qcluster`; warnings do not, and may
be silenced in Django's `SILENCED_SYSTEM_CHECKS`. With `--deploy` it also asks all servers at once, for ten
seconds at most, and says of each whether it answers and has the tables (`W010`, `W015`, `W016`, `I002`);
`manage.py check --deploy --tag django_q` says what a `Q_CLUSTER` that was written for Django-Q means here.
"""

TITLES: tuple[tuple[str, Sequence[SettingDefinition]], ...] = (
    ("The cluster", CLUSTER),
    ("The broker", BROKER),
    ("Packages", SIGNING),
    ("Failures", DELIVERY),
    ("Results", RESULTS),
    ("Schedules", SCHEDULE),
    ("Processes", PROCESSES),
)


def settings_page() -> str:
    """The page of all settings."""
    tables = [_section(title, options) for title, options in TITLES]
    return "\n".join([SETTINGS_HEAD, NOTICE, "", *tables])


def checks_page() -> str:
    """The page of all checks."""
    rows = [row(f"`django_cluster.{name}`", *texts) for name, texts in CATALOGUE.items()]
    return "\n".join([CHECKS_HEAD, NOTICE, "", *table(("id", "what is wrong", "what to do"), rows), ""])


def _section(title: str, options: Sequence[SettingDefinition]) -> str:
    rows = [row(_keys(each), each.value_type.words, _default(each), each.meaning, _django_q(each)) for each in options]
    return "\n".join([f"## {title}", "", *table(("key", "value", "default", "meaning", "Django-Q"), rows), ""])


def _keys(option: SettingDefinition) -> str:
    return ", ".join(f"`{key}`" for key in (option.key, *option.aliases))


def _django_q(option: SettingDefinition) -> str:
    """What a reader who knows Django-Q has to know."""
    instead = f"Django-Q: {option.django_q}." if option.django_q else ""
    return " ".join(part for part in ("New." if option.new else "", instead, option.difference) if part)


def _default(option: SettingDefinition) -> str:
    if option.default_words or not option.field:
        return option.default_words
    return f"`{option.default!r}`"


def table(head: Sequence[str], rows: Sequence[str]) -> list[str]:
    return [row(*head), row(*("---" for _ in head)), *rows]


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def write() -> None:
    """Write both pages."""
    (REFERENCE / "settings.md").write_text(settings_page(), encoding="utf-8")
    (REFERENCE / "checks.md").write_text(checks_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
