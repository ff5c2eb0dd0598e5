"""What editors do on the site (``edit``), and what is to be seen then (``report``), as a line of JSON."""

from __future__ import annotations

import io
import json
import sys
from importlib import import_module
from typing import Any

import django


def gallery() -> Any:
    """The models of the site; not before Django is set up."""
    return import_module("tests.framework_site.gallery.models")


def picture_file(name: str) -> Any:
    from django.core.files.base import ContentFile
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, "PNG")
    return ContentFile(buffer.getvalue(), name)


def edit() -> None:
    """Save and delete as an editor would: whatever is slow about it is sent as a task by the packages themselves."""
    from django.core.files.base import ContentFile
    from django.db import transaction
    from wagtail.documents.models import Document
    from wagtail.images.models import Image
    from wagtail.models import Page

    with transaction.atomic():
        image = Image.objects.create(title="red", file=picture_file("red.png"))
        root: Any = Page.objects.get(depth=1)
        root.add_child(instance=gallery().PicturePage(title="a page", slug="a-page", image=image))
    document = Document.objects.create(title="old", file=ContentFile(b"text", "old.txt"))
    document.delete()
    gallery().Photo.objects.create(picture=picture_file("photo.png"))


def report() -> dict[str, Any]:
    from pathlib import Path

    from django.conf import settings
    from wagtail.models import ReferenceIndex

    page = gallery().PicturePage.objects.get()
    photo = gallery().Photo.objects.get()
    media = Path(settings.MEDIA_ROOT)
    return {
        "references": ReferenceIndex.get_references_to(page.image).count(),
        "document": (media / "documents" / "old.txt").exists(),
        "photo": (media / photo.picture.name).exists(),
        "copies": sorted(file.suffix for file in media.glob("photos/photo/**/*") if file.is_file()),
    }


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "edit":
        edit()
    print(json.dumps(report()))  # noqa: T201  what the test reads
