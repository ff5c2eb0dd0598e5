from __future__ import annotations

from django.db import migrations

from django_cluster.django_q.history import schedule_fields, task_fields


class Migration(migrations.Migration):
    initial = True
    operations = (
        migrations.CreateModel("Schedule", schedule_fields(), {"ordering": ["next_run"]}),
        migrations.CreateModel("Task", task_fields(), {"ordering": ["-stopped"]}),
        migrations.CreateModel("Failure", [], {"proxy": True}, bases=("django_q.task",)),
        migrations.CreateModel("Success", [], {"proxy": True}, bases=("django_q.task",)),
    )
