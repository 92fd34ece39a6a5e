"""Changes in words, as the command line prints them."""

from __future__ import annotations

from adapters.cli.changes import changes_text
from adapters.comparing import Job, compare
from adapters.http.params import section_named


def told(before: str, after: str) -> str:
    job = Job(before.encode(), after.encode(), "routeros", b"k" * 32, "r1", ())
    return changes_text(compare(job).told).plain


def test_lines_that_are_not_understood_are_told_once_with_how_many_they_are() -> None:
    page = "<html>\n<body>\n502 Bad Gateway\n</body>\n</html>\n"
    found = told(page, "/ip pool\nadd name=a ranges=10.0.0.1\n")
    assert found.startswith("the text: a line that is not understood removed (and 4 more like it)")
    assert "ip pool: 'a' added" in found


def test_a_section_is_named_as_it_is_recorded() -> None:
    assert section_named("/ip/firewall/filter") == "/ip firewall filter"
    assert section_named("/ip firewall") == "/ip firewall"
    assert section_named("interface lo") == "interface lo"
    assert section_named("") is None
