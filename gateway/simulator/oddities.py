"""The same repositories in other spellings: what servers of all kinds make of numbers, bools and cut texts."""

from __future__ import annotations

from typing import Any

import msgspec

_INTEGERS = ("%d.0", "%dE+0", '"%d"', '"%d.0"', '"%de0"')
_BOOLS = {False: "false", True: "true"}
_CUT = msgspec.Raw(rb'"cut in the middle of a \ud83d"')


def spell_oddly(record: dict[str, Any], index: int) -> dict[str, Any]:
    """Return a record whose values are the same in other spellings, by turns, but for a description that is cut."""
    return {key: _spell(value, index) for key, value in record.items()} | {"description": _CUT}


def _spell(value: Any, index: int) -> Any:
    if isinstance(value, bool):
        return _BOOLS[value]
    if isinstance(value, int):
        return msgspec.Raw((_INTEGERS[index % len(_INTEGERS)] % value).encode())
    return value
