"""What refers to an image, and what has smaller copies made of it."""

from __future__ import annotations

from typing import Any

from django.db import models
from pictures.models import PictureField
from wagtail.models import Page


class PicturePage(Page):  # type: ignore[misc]  # the types of Wagtail are unknown here
    """Wagtail keeps an index of what refers to what: a task of it writes the entry of this page."""

    image = models.ForeignKey("wagtailimages.Image", on_delete=models.PROTECT, related_name="+")


class Photo(models.Model):
    """A task of django-pictures makes the copies."""

    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    picture: Any = PictureField(upload_to="photos", aspect_ratios=[None], width_field="width", height_field="height")

    def __str__(self) -> str:
        return str(self.picture)
