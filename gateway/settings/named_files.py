"""What the files that settings name must hold."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gateway.credentials.tokens import read_token
from gateway.files.certificates import KeyUse, read_authorities, read_key_pair
from gateway.files.reloading import read_file
from gateway.settings.given import Given
from gateway.settings.model import Auth
from gateway.start_errors import BadFileError
from gateway.upstream.tls import authorities_context

MAX_SHOWN_PATH = 255
_HIDDEN = " (a relative path, not shown: it may be a secret)"

# Files that are read together, and what reads them.
_READ: tuple[tuple[tuple[str, ...], Callable[..., object]], ...] = (
    (("token_file",), read_token),
    (("tls_client_ca",), read_authorities),
    (("tls_cert", "tls_key"), partial(read_key_pair, use=KeyUse.GRPC)),
    (("upstream_ca",), authorities_context),
    (("upstream_client_cert", "upstream_client_key"), partial(read_key_pair, use=KeyUse.OPENSSL)),
)

# What nobody has as a token, a key or a password: `../name`, `name.pem`.
_FILE_NAME = re.compile(r"\.\./.*|(?:[\w.-]{1,32}/)*[\w.-]{1,32}\.(?:pem|crt|cert?|key|token|txt)", re.ASCII)


def find_problems(given: Given) -> Iterator[str]:
    """Yield a sentence for each file that cannot be used, and of several that are read together for each at once."""
    for names, read in _READ:
        if names == ("token_file",) and given.settings.auth != Auth.TOKEN:
            continue  # nothing uses it
        paths: dict[str, Any] = {name: getattr(given.settings, name) for name in names}
        there = {name: path for name, path in paths.items() if path is not None}
        unreadable = [problem for name, path in there.items() for problem in _tried(read_file, {name: path}, given)]
        yield from unreadable
        if len(there) == len(names) and not unreadable:
            yield from _tried(read, there, given)


def _tried(read: Callable[..., object], paths: dict[str, Path], given: Given) -> Iterator[str]:
    try:
        read(*paths.values())
    except BadFileError as error:
        named = given.place(*(name for name, path in paths.items() if path == error.path))
        yield f"{named}: {error if _is_path(error.path) else error.problem + _HIDDEN}"


def _is_path(path: Path) -> bool:
    """Tell whether a text is meant as a path: it may be a secret that was put where its path belongs."""
    if (path.is_absolute() or _FILE_NAME.fullmatch(str(path))) and len(str(path)) <= MAX_SHOWN_PATH:
        return True
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for what is too long to be a name
