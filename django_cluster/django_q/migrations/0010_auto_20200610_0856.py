from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("django_q", "0009_auto_20171009_0915"),)
