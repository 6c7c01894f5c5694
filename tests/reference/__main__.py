"""`make docs`."""

from tests.reference.pages import PAGES

for path, text in PAGES.items():
    path.write_text(text(), encoding="utf-8")
