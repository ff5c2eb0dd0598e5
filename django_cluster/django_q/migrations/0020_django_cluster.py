from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.takeover import TakeOver


class Migration(migrations.Migration):
    dependencies = (
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("django_cluster", "0001_initial"),
    )
    operations = (TakeOver(),)
