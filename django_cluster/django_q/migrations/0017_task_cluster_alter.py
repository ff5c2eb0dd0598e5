from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import added


class Migration(migrations.Migration):
    dependencies = (("django_q", "0016_schedule_intended_date_kwarg"),)
    operations = added("0017")
