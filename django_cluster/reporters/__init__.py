"""Outside services that hear of failed tasks. Each client library is imported only where its service is configured."""

from __future__ import annotations

SHIPPED = {
    "rollbar": "django_cluster.reporters.rollbar.RollbarReporter",
    "sentry": "django_cluster.reporters.sentry.SentryReporter",
}
"""The reporters that come with the package, by the names that ``error_reporter`` calls them."""
