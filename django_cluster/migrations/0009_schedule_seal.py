from django.db import migrations

import django_cluster.models.schedule_seal


class Migration(migrations.Migration):

    dependencies = [
        ('django_cluster', '0008_schedule_plan'),
    ]

    operations = [
        migrations.AddField(
            model_name='schedule',
            name='seal',
            field=django_cluster.models.schedule_seal.ScheduleSealField(blank=True, default='', editable=False, help_text='Shows that what is run was said by code of the project', max_length=64, verbose_name='seal'),
        ),
    ]
