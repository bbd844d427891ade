"""Types of settings that Python has no word for, and how they are written: durations, sizes, numbers, texts, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, PlainSerializer, SecretStr

from gateway.core.retry import MIN_TIME
from gateway.core.tokens import is_token
from gateway.settings.cores import available_cores
from gateway.settings.durations import read_duration, write_duration
from gateway.settings.spelling import Spelling

_BYTES = re.compile(r"\d{1,15}(?:\.\d{1,9})?\s*(?:[KMGT]i?B|B)?", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*|spiffe://[a-z0-9._-]+(?:/[\w.-]+)*(?:/[\w.-]*\*)?", re.ASCII)
# An IP address is no DNS name, though it looks like one.
_NUMBERS = re.compile(r"[\d.]+", re.ASCII)
LONGEST = 250_000 * 3600.0  # seconds: some thirty years
MAX_WORKERS = 64


def _read_duration(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a duration such as 500ms, 15s or 2m")  # noqa: TRY004 - told among the other problems
    return read_duration(value) if isinstance(value, str) else value


def _check_duration(seconds: float) -> float:
    if not 0 <= seconds <= LONGEST:
        raise ValueError("must be from 0s to 250000h")
    return seconds


def _check_positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _check_call(seconds: float) -> float:
    if seconds <= MIN_TIME:
        raise ValueError(f"must be longer than {write_duration(MIN_TIME)}: no upstream request is begun with less")
    return seconds


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - told among the other problems
    return value


def _read_workers(value: object) -> object:
    if value == "auto":
        return min(available_cores(), MAX_WORKERS)
    if isinstance(value, str) and not value.strip().isdecimal():
        raise ValueError(f"must be a number from 1 to {MAX_WORKERS}, or auto")
    return value


def _read_bytes(value: object) -> object:
    if isinstance(value, str) and not _BYTES.fullmatch(value.strip()):
        raise ValueError("must be a size such as 65536, 512KiB or 64MiB")
    return value


def write_bytes(size: int) -> str:
    """Write a size as it is read: `64MiB`."""
    for power, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size and size % power == 0:
            return f"{size // power}{unit}"
    return str(size)


def _read_names(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",")) if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError("must be DNS names or SPIFFE ids, several by comma")  # noqa: TRY004 - told among the other problems
    return value


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_NAME.fullmatch(name) and not _NUMBERS.fullmatch(name) and "/." not in name for name in names):
        raise ValueError(
            "must be DNS names or SPIFFE ids, several by comma; "
            "a `*` only at the end of a SPIFFE id, behind its trust domain"
        )
    return names


def _check_header(text: SecretStr | str | None) -> SecretStr | str | None:
    if text is not None and not is_token(text if isinstance(text, str) else text.get_secret_value()):
        raise ValueError("must be visible ASCII without blanks")
    return text


def _check_text(text: SecretStr | str | None) -> SecretStr | str | None:
    if text is not None and not (text if isinstance(text, str) else text.get_secret_value()).isprintable():
        raise ValueError("must not hold control characters, such as a line break at its end")
    return text


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value


def _check_path(value: object) -> object:
    """Refuse what cannot be a path: a key pasted in its place would be shown in what is said of the path."""
    if not isinstance(value, str | Path) or re.search(r"[\0\r\n]", str(value)):
        raise ValueError("must be the path of a file")
    return value


Unset = BeforeValidator(_empty_is_unset)
Printable = AfterValidator(_check_text)
FilePath = Annotated[Path, BeforeValidator(_check_path), Spelling("FILE")]
HeaderText = AfterValidator(_check_header)
Duration = Annotated[
    float,
    Spelling("DURATION"),
    Field(allow_inf_nan=False),
    BeforeValidator(_read_duration),
    AfterValidator(_check_duration),
    PlainSerializer(write_duration),
]
PositiveDuration = Annotated[Duration, AfterValidator(_check_positive)]
CallDuration = Annotated[PositiveDuration, AfterValidator(_check_call)]
Size = Annotated[
    ByteSize,
    Spelling("SIZE"),
    BeforeValidator(_read_bytes),
    BeforeValidator(_refuse_bool),
    PlainSerializer(write_bytes),
]
Count = Annotated[int, Spelling("NUMBER"), BeforeValidator(_refuse_bool), Field(ge=1)]
Number = Annotated[int, Spelling("NUMBER"), BeforeValidator(_refuse_bool), Field(ge=0)]
Ratio = Annotated[float, Spelling("RATIO"), BeforeValidator(_refuse_bool), Field(gt=0, le=1, allow_inf_nan=False)]
Workers = Annotated[
    int,
    Spelling("NUMBER|auto"),
    BeforeValidator(_read_workers),
    BeforeValidator(_refuse_bool),
    Field(ge=1, le=MAX_WORKERS),
]
Names = Annotated[
    tuple[str, ...],
    Spelling("NAME,..."),
    BeforeValidator(_read_names),
    AfterValidator(_check_names),
    PlainSerializer(",".join),
]
