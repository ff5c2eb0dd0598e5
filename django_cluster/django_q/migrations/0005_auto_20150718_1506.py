from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import added


class Migration(migrations.Migration):
    dependencies = (("django_q", "0004_auto_20150710_1043"),)
    operations = added("0005")
