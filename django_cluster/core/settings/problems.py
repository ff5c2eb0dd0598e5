"""The ids of all problems of the settings. They are stable, because projects silence checks by their id.

``checks/`` shows them as ``django_cluster.E002``; the reference page of checks is generated from this table.
"""

from __future__ import annotations

NOT_A_DICT = "E001"
UNKNOWN_KEY = "E002"
BAD_VALUE = "E003"
TWO_BROKERS = "E004"
OTHER_BROKER = "E005"
BAD_CALLABLE = "E006"
TWO_NAMES = "E007"
MISSING_KEY = "E008"
UNKNOWN_DATABASE = "E009"
UNKNOWN_CACHE = "E010"
BAD_BROKER_CLASS = "E011"
RENAMED_KEY = "E012"

UNKNOWN_VARIABLE = "W001"
SHARED_NAME = "W003"
NAMED_TWICE = "W004"
MANY_WORKERS = "W005"
NO_TIME_ZONES = "W006"
CACHE_SHARES_SERVER = "W007"
OTHER_DEFAULT_BROKER = "W008"
BOTH_INSTALLED = "W009"
SERVER_CONCERN = "W010"
ABSENT_REPORTER = "W011"
PRIVATE_CACHE = "W012"
SQLITE_LOCKS = "W013"
NO_EFFECT_HERE = "W014"
UNREACHABLE = "W015"
MISSING_TABLES = "W016"
TABLES_ELSEWHERE = "W017"
ANY_FUNCTION = "W020"
UNFIREABLE_SCHEDULE = "W021"
MISPLACED_TASK = "W022"

MEANS_SOMETHING_ELSE = "I001"
SERVER_ANSWERS = "I002"

CATALOGUE: dict[str, tuple[str, str]] = {
    NOT_A_DICT: ("`Q_CLUSTER` is not a dict.", "Write a dict, or leave the setting out."),
    UNKNOWN_KEY: ("A key is not known.", "Correct the spelling; the message names the nearest known key."),
    BAD_VALUE: ("A value is of the wrong type, or out of range.", "The message says what the key may hold."),
    TWO_BROKERS: ("Two brokers are configured.", "Remove one, or let `broker` say which is meant."),
    OTHER_BROKER: (
        "`broker` names a kind, but another kind is configured.",
        "Name the kind that is configured, or configure the one that is named.",
    ),
    BAD_CALLABLE: ("A function that was set instead of a value raised an error.", "Correct the function."),
    TWO_NAMES: ("An option is given twice, under two of its names.", "Remove one of them."),
    MISSING_KEY: (
        "There is no secret key, so that packages cannot be signed.",
        "Set Django's `SECRET_KEY`. Only raised where packages are sent or run: Django has its own check for it.",
    ),
    UNKNOWN_DATABASE: ("A database alias is not in `DATABASES`.", "Correct the alias."),
    UNKNOWN_CACHE: ("A cache alias is not in `CACHES`.", "Correct the alias."),
    BAD_BROKER_CLASS: (
        "`broker_class` cannot be used.",
        "It must name an importable subclass of `brokers.base.Broker`.",
    ),
    RENAMED_KEY: (
        "A setting, or its environment variable, has been renamed.",
        "Write the new name, which the message says.",
    ),
    UNKNOWN_VARIABLE: (
        "An environment variable begins with `Q_CLUSTER_` and is not known.",
        "Correct the spelling; the name of a variable is `Q_CLUSTER_` and the key in capitals.",
    ),
    SHARED_NAME: (
        "The namespace is called `default`, and its broker is on another machine.",
        "Set `name`: another project with the same name would take your tasks.",
    ),
    NAMED_TWICE: (
        "A cluster of `ALT_CLUSTERS` gives itself another name or queue, which is ignored.",
        "Remove it: the key in `ALT_CLUSTERS` is the queue.",
    ),
    MANY_WORKERS: (
        "There are more than four workers for each CPU.",
        "Fewer are usually faster, unless the tasks mostly wait.",
    ),
    NO_TIME_ZONES: ("`time_zone` is set while `USE_TZ` is False.", "Set `USE_TZ = True`, or remove `time_zone`."),
    CACHE_SHARES_SERVER: (
        "A Django cache lives in the same Redis database as the queue.",
        "Give the queue a database of its own: clearing the cache would delete the tasks.",
    ),
    OTHER_DEFAULT_BROKER: (
        "The project knows Django-Q, and configures no broker.",
        "Django-Q would have used Redis on this machine; here it is the default database. Name the one that is meant.",
    ),
    BOTH_INSTALLED: (
        "`django_q` and `django_cluster` are both in `INSTALLED_APPS`.",
        "What `django_q.tasks` sends goes to Django-Q's clusters alone. Take `django_q` out when none is left running.",
    ),
    SERVER_CONCERN: (
        "The server of the broker is set up so that it may lose messages.",
        "The message says what. Only looked for by `manage.py check --deploy`, which asks the server.",
    ),
    ABSENT_REPORTER: (
        "No installed package offers an error reporter of this name, so that its reports are missing.",
        "Correct the name, or install the package that has it.",
    ),
    PRIVATE_CACHE: (
        "`cached` is set, and the cache for results is one that each process has for itself, or that keeps nothing.",
        "Let `cache` name a cache that all processes share: no other process can read what a cluster writes there.",
    ),
    SQLITE_LOCKS: (
        "An SQLite database of the project lacks the options with which its processes wait for each other.",
        'Set `"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}`. A cluster sets both for its own processes;'
        ' web processes and commands would sometimes be told "database is locked".',
    ),
    NO_EFFECT_HERE: (
        "A setting has no effect on this system: nothing here tells how much memory a process uses (`max_rss`,"
        " `max_rss_kill`), or binds it to CPUs (`cpu_affinity`).",
        "Install psutil (`pip install 'django-cluster[proc]'`), or remove the setting. On macOS nothing can bind a"
        " process to a CPU.",
    ),
    UNREACHABLE: (
        "A broker or a database cannot be used, or has not answered within ten seconds.",
        "The message says why. Only looked for by `manage.py check --deploy`, which asks the servers.",
    ),
    MISSING_TABLES: (
        "A database lacks tables of this package, or migrations of it were not applied there.",
        "Run `manage.py migrate`, with `--database` for another database than `default`. Only looked for by"
        " `manage.py check --deploy`, and by `qcluster` before it starts.",
    ),
    TABLES_ELSEWHERE: (
        "The database routers do not let the tables be made in a database that `Q_CLUSTER` names.",
        "Put `django_cluster.routers.ClusterRouter` first in `DATABASE_ROUTERS`, or let your router allow it.",
    ),
    SERVER_ANSWERS: (
        "A broker answers, or a database answers and has the tables.",
        "Nothing has to be done. Only shown by `manage.py check --deploy`.",
    ),
    ANY_FUNCTION: (
        "`functions` is not set, so that a task may name any function that can be imported.",
        'Set `"functions": "registered"`, or a list of patterns. Only shown by `manage.py check --deploy`; see'
        " [Security](../explanation/security.md).",
    ),
    UNFIREABLE_SCHEDULE: (
        "A schedule can never run: croniter is missing, and one is declared for a cron expression; or one in the"
        " database has a rule, a time zone or a function that makes no sense. The database is only asked by"
        " `manage.py check --database default` and `manage.py migrate`.",
        "The message says what is missing, or wrong.",
    ),
    MISPLACED_TASK: (
        "Two functions are declared as a task under one path; or a function is declared with `@task`, and something"
        " else has its name. `manage.py check` looks at modules that are imported already, `check --deploy` at the"
        " task modules of all apps.",
        "Give each task a name of its own; let `@task` be the uppermost decorator.",
    ),
    MEANS_SOMETHING_ELSE: (
        "The project knows Django-Q, and a key that it sets means something a little different here.",
        "Nothing has to be done. Only shown by `manage.py check --deploy --tag django_q`.",
    ),
}
"""Id → what is wrong, and what to do. An id is never used again for another problem."""
