from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import added


class Migration(migrations.Migration):
    dependencies = (("django_q", "0012_auto_20200702_1608"),)
    operations = added("0013")
