from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import queue_fields


class Migration(migrations.Migration):
    dependencies = (("django_q", "0006_auto_20150805_1817"),)
    # Not made: a database in which it is has been one of Django-Q's, and nothing is ever written into it here.
    operations = (
        migrations.SeparateDatabaseAndState(state_operations=[migrations.CreateModel("OrmQ", queue_fields())]),
    )
