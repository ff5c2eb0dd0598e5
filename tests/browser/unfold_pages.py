"""A program: opens every page of the admin in a project that has Unfold installed; complains if one fails."""

from __future__ import annotations

import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.unfold_settings"
    django.setup()

    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment
    from django.urls import reverse
    from unfold.admin import ModelAdmin

    from django_cluster.models import Failure, QueuedTask, Schedule
    from tests.browser import rows

    setup_test_environment()
    call_command("migrate", verbosity=0)
    rows.fill()
    client = Client()
    client.force_login(User.objects.create_superuser("chief"))
    assert isinstance(admin.site.get_model_admin(Failure), ModelAdmin)

    queued, schedule = QueuedTask.objects.all()[0], Schedule.objects.all()[0]
    pages = [(f"{name}_changelist", ()) for name in ("success", "failure", "schedule", "queuedtask", "heartbeat")]
    pages += [("schedule_add", ())]
    singles = [
        *(("success", rows.SUCCESS_ID), ("failure", rows.FAILURE_ID), ("failure", rows.DEAD_ID)),
        *(("queuedtask", queued.pk), ("schedule", schedule.pk)),
    ]
    addresses = [reverse(f"admin:django_cluster_{name}", args=arguments) for name, arguments in pages]
    addresses += [reverse(f"admin:django_cluster_{name}_change", args=(key,)) for name, key in singles]
    addresses += [reverse("admin:django_cluster_failure_retry", args=(rows.FAILURE_ID,))]
    for address in addresses:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        assert b"unfold" in response.content, address
    form = {"action": "delete_selected", "_selected_action": [rows.FAILURE_ID]}
    asked = client.post(reverse("admin:django_cluster_failure_changelist"), form)
    assert b"Delete 1 task?" in asked.content
    print(f"{len(addresses) + 1} pages")  # noqa: T201  the test reads it


if __name__ == "__main__":
    main()
