"""Plugin of pytest for the test suites of other packages: ``import django_q`` finds django_cluster."""

from __future__ import annotations

from django_cluster.django_q import install_django_q

install_django_q()
