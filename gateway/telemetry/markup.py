"""HTML in which every text is escaped: only what was made of elements here is taken as it is."""

from __future__ import annotations

from html import escape


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str) -> Html:
    """Return an element.

    Args:
        name: Its name.
        children: Texts, which are escaped, and other elements.
        attributes: Its attributes; `class_` is `class`, and `aria_label` is `aria-label`.
    """
    given = "".join(f' {key.strip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{together(*children)}</{name}>")


def together(*children: str) -> Html:
    """Return elements and texts one behind the other."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))
