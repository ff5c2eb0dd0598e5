"""Repairs documents that other programs have written into the collection of messages."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from django_cluster.brokers.mongo_connection import Document
from django_cluster.brokers.mongo_documents import repairs

LIMIT = 500
"""Documents that are repaired in one call."""


def mend(messages: Collection[Document], which: Document, more: Document | None = None) -> bool:
    """Add missing fields, and ``more``, to documents that match ``which``; returns whether there were any."""
    mended = False
    for document in messages.find(which, {"payload": 0}, limit=LIMIT):
        right = {**repairs(document), **(more or {})}
        if right:
            messages.update_one({"_id": document["_id"]}, {"$set": right})
        if type(document["_id"]) is not ObjectId:
            _replace_id(messages, document["_id"])
        mended = mended or bool(right)
    return mended


def _replace_id(messages: Collection[Document], name: Any) -> None:
    """Replace a document by a copy with an id of MongoDB, because ``_id`` cannot be changed."""
    for document in messages.find({"_id": name}):
        copy = {**document, "_id": ObjectId()}
        messages.insert_one(copy)
        if not messages.delete_one({"_id": name}).deleted_count:  # another process was quicker
            messages.delete_one({"_id": copy["_id"]})
