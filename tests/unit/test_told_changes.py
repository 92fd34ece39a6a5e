"""Changes in words, as the command line prints them."""

from __future__ import annotations

import pytest

from adapters.asked import section_named
from adapters.cli.changes import changes_text, headline
from adapters.comparing import Job, compare
from adapters.http.differences import in_words
from domain.semantic.told import Level, Risk, ToldChange, ToldDiff


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


def one(level: Level, *, upgraded: bool = False, risks: tuple[Risk, ...] = ()) -> ToldChange:
    return ToldChange(
        section="/ip pool",
        kind="added",
        sentence=f"told as {level}",
        level=level,
        after_upgrade=upgraded,
        risks=risks,
    )


REPORT, LOW, IGNORE = one("report"), one("low"), one("ignore")
UPGRADED = one("report", upgraded=True)
NOTHING = "nothing that the tenant's policy reports"
HEADLINES = {
    "ignored": (ToldDiff(changes=(IGNORE,)), NOTHING),
    "ignored while there was an upgrade": (
        ToldDiff(changes=(IGNORE, one("ignore", upgraded=True)), upgrade="7.14 to 7.15"),
        NOTHING,
    ),
    "ignored, and more": (
        ToldDiff(changes=(IGNORE,), more=7),
        f"{NOTHING}, and 7 changes more, not told one by one",
    ),
    "ignored, and one more": (
        ToldDiff(changes=(IGNORE,), more=1),
        f"{NOTHING}, and 1 change more, not told one by one",
    ),
    "what is ignored is not counted": (ToldDiff(changes=(IGNORE, REPORT)), "told as report"),
    "what is low is": (ToldDiff(changes=(LOW, IGNORE, REPORT)), "told as report (and 1 more)"),
    "one after an upgrade": (
        ToldDiff(changes=(UPGRADED, IGNORE), upgrade="7.14 to 7.15"),
        "1 change after the upgrade from 7.14 to 7.15",
    ),
    "two after an upgrade": (
        ToldDiff(changes=(UPGRADED, UPGRADED), upgrade="7.14 to 7.15"),
        "2 changes after the upgrade from 7.14 to 7.15",
    ),
    "a note": (ToldDiff(notes=("nothing changed in meaning",)), "nothing changed in meaning"),
}


@pytest.mark.parametrize(("diff", "words"), HEADLINES.values(), ids=HEADLINES)
def test_a_timeline_names_the_first_change_that_the_policy_reports(
    diff: ToldDiff, words: str
) -> None:
    assert headline(diff) == words


def test_a_tag_with_two_reasons_stands_once() -> None:
    twice = one("report", risks=(Risk("protection", "a"), Risk("protection", "b")))
    assert changes_text(ToldDiff(changes=(twice,))).plain == "told as report  [protection]"


def test_the_api_tells_in_text_what_the_command_line_does() -> None:
    twice = one("report", risks=(Risk("protection", "a"), Risk("protection", "b")))
    diff = ToldDiff(changes=(IGNORE, twice, LOW, IGNORE), notes=("a note",), more=1)
    assert in_words(diff).splitlines() == [
        "told as report [protection]",
        "told as low",
        "a note",
        "2 changes that the tenant's policy ignores",
        "1 change more, not told one by one",
    ]
    shown = changes_text(diff).plain.splitlines()
    assert [line.strip("()").replace("  ", " ") for line in shown] == in_words(diff).splitlines()
