"""What of a menu path may be in an event: words that are known to be menus, and no others."""

from __future__ import annotations

import pytest

from domain.canonical import canonicalise
from domain.diffing import section_changes
from domain.routeros.menus import publishable, publishable_menu


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/ip firewall filter", "/ip firewall filter"),
        ("/password hunter2secret", "/password"),
        ("/ip hunter2 filter", "/ip"),
        ("/hunter2", ""),
    ],
)
def test_a_path_ends_before_the_first_word_that_is_no_menu(path: str, told: str) -> None:
    assert publishable(path) == told


def test_other_text_is_no_menu() -> None:
    assert publishable_menu("hunter2") is None
    assert publishable_menu("/ip address add hunter2") is None


def test_words_in_the_place_of_menus_are_in_no_section_and_no_warning() -> None:
    before = canonicalise("/ip address\nadd address=10.0.0.1/24\n", "routeros")
    after = canonicalise(
        "/ip address\nadd address=10.0.0.1/24\n/password hunter2secret\nadd x=1\n"
        "#error exporting /ip hunter2word\n",
        "routeros",
    )
    assert [one.section for one in section_changes(before, after)] == ["/password"]
    assert after.warnings == ("error exporting /ip",)
    assert after.completeness == "partial"
