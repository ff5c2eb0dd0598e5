"""Two tables: a census, and each file that belongs to it with the id of its task."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Census(models.Model):
    """One count of one folder. It is finished when its report has been shown."""

    folder = models.TextField()
    limit = models.PositiveIntegerField(null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Census]]

    class Meta:
        verbose_name_plural = "censuses"

    def __str__(self) -> str:
        return f"Census {self.pk} of {self.folder}"

    @property
    def group(self) -> str:
        """The label that all its tasks carry."""
        return f"census-{self.pk}"


class SourceFile(models.Model):
    """A file to be counted. It has a task id from the moment in which it is in the queue."""

    census = models.ForeignKey(Census, models.CASCADE, related_name="files")
    path = models.TextField()
    task_id = models.CharField(max_length=32, blank=True, db_index=True)

    objects: ClassVar[models.Manager[SourceFile]]

    class Meta:
        constraints = (models.UniqueConstraint(fields=["census", "path"], name="census_file_once"),)

    def __str__(self) -> str:
        return self.path
