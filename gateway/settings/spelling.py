"""The word that stands for a setting's value in help and docs: `DURATION`, `HOST:PORT`, `json|console`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_args

from pydantic.fields import FieldInfo

_ANY = "TEXT"


@dataclass(frozen=True, slots=True)
class Spelling:
    """Says of a type, as a part of its annotation, what its values look like."""

    word: str


def spelling(field: FieldInfo) -> str:
    """Return the word for the values of a setting; empty for one that is on or off."""
    kind = field.annotation
    if kind is bool:
        return ""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "|".join(kind)
    return next((part.word for part in (*field.metadata, *_parts(kind)) if isinstance(part, Spelling)), _ANY)


def _parts(kind: Any) -> Iterator[Any]:
    for part in get_args(kind):
        yield part
        yield from _parts(part)
