"""An app with a page of Wagtail that shows an image, and a photo of django-pictures."""

from __future__ import annotations
