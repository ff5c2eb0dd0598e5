"""The same shop, on its way."""

# ruff: noqa: I002  a project of somebody else
import os

SECRET_KEY = "the key of the shop"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"]}}
USE_TZ = True
TIME_ZONE = "Europe/Amsterdam"

INSTALLED_APPS = ["django.contrib.contenttypes", "django_cluster.django_q"]

Q_CLUSTER = {
    "name": "shop",
    "orm": "default",
    "workers": 2,
    "timeout": 60,
    "retry": 90,
    "max_attempts": 3,
    "save_limit": 500,
}
