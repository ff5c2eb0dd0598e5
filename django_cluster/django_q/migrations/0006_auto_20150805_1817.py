from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import added


class Migration(migrations.Migration):
    dependencies = (("django_q", "0005_auto_20150718_1506"),)
    operations = added("0006")
