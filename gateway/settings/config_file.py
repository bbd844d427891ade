"""The TOML file with settings: what it holds, and where it cannot be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


class ConfigFileError(Exception):
    """A file that cannot be read; the text says which and why, and shows nothing of what it holds but names."""


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the keys of a file with their values.

    Raises:
        ConfigFileError: It cannot be read, or is not TOML.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")  # editors on Windows begin files with a mark
    except OSError as error:
        raise ConfigFileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path}, {_place(content[: error.start].decode())}: is not UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigFileError(_explain(path, text, str(error))) from error
    except (ValueError, RecursionError) as error:  # a number, or a nesting, that Python refuses
        raise ConfigFileError(f"{path}: holds a number that is too long, or is nested too deep") from error


def _explain(path: Path, text: str, problem: str) -> str:
    match = _POSITION.fullmatch(problem)
    if match is None:
        return f"{path}: is not TOML"
    why, line, column = match.groups()
    place = f"line {line}, column {column}" if line else _place(text)
    # The parser quotes what it stumbled over, and that may be a secret. Its own word is an equals sign.
    if re.search(r"['\"]", why.replace("'='", "=")):
        return f"{path}, {place}: is not TOML"
    return f"{path}, {place}: is not TOML: {why}"


def _place(before: str) -> str:
    """Return the place behind a text."""
    lines = before.split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"
