"""Writes docs/settings.md, docs/errors.md and docs/terminal.svg."""

from __future__ import annotations

from pathlib import Path

from docs.generate.errors_page import errors_page
from docs.generate.picture import PICTURE, picture
from docs.generate.settings_page import settings_page

DOCS = Path(__file__).parent.parent

(DOCS / "settings.md").write_text(settings_page(), "utf-8")
(DOCS / "errors.md").write_text(errors_page(), "utf-8")
(DOCS / PICTURE).write_text(picture(), "utf-8")
