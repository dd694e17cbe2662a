from pathlib import Path

from plait.config.diagnostics import CODES

PAGES = Path(__file__).parent.parent.parent / "docs" / "codes"


def test_every_code_has_a_page_and_every_page_a_code():
    assert {page.stem for page in PAGES.glob("PLT*.md")} == set(CODES)
