"""The page on masks is the recorded numbers."""

from __future__ import annotations

from benchmarks.masks_page import PAGE, PICTURE, page


def test_the_page_is_made_from_the_committed_results() -> None:
    assert PAGE.read_text() == page(), "run: python -m benchmarks.masks_page"
    assert PICTURE.is_file()
