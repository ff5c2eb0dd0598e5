from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("django_q", "0017_task_cluster_alter"),)
