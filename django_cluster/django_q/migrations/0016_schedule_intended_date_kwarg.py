from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import added


class Migration(migrations.Migration):
    dependencies = (("django_q", "0015_alter_schedule_schedule_type"),)
    operations = added("0016")
