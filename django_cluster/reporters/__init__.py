"""Error reporters for external services. A client library is imported only if its service is configured."""

from __future__ import annotations

SHIPPED = {
    "rollbar": "django_cluster.reporters.rollbar.RollbarReporter",
    "sentry": "django_cluster.reporters.sentry.SentryReporter",
}
"""The reporters that come with the package, by the names that ``error_reporter`` calls them."""
