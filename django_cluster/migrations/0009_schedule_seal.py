from django.db import migrations

import django_cluster.models.schedule_seal


class Migration(migrations.Migration):

    dependencies = [
<<<<<<<< HEAD:django_cluster/migrations/0009_schedule_seal.py
        ('django_cluster', '0008_schedule_plan'),
========
        ('django_cluster', '0007_view_task_arguments'),
>>>>>>>> 8ae9e6c (Texts of qseal in five languages; its migration comes after that of the arguments):django_cluster/migrations/0008_schedule_seal.py
    ]

    operations = [
        migrations.AddField(
            model_name='schedule',
            name='seal',
            field=django_cluster.models.schedule_seal.ScheduleSealField(blank=True, default='', editable=False, help_text='Shows that what is run was said by code of the project', max_length=64, verbose_name='seal'),
        ),
    ]
