from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("django_q", "0002_auto_20150630_1624"),)
