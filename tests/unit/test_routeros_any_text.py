"""The canonical form of any export of RouterOS: made of logical lines, wrapped and with noise."""

from __future__ import annotations

import re

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.canonical import text_under
from domain.canonical.form import physical_lines
from domain.canonical.routeros import logical_form, origins
from tests.routeros_texts import routeros

# Properties: an export is made of logical lines; wrapping and noise are added at random.

_VALUE = st.text(alphabet='ab #=,;/[]$é\\"\n\r', max_size=60)


def _quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "$": "\\$"}
    return '"' + "".join(escapes.get(char, char) for char in value) + '"'


_LOGICAL = st.builds(
    lambda key, value, last: f"add {key}={_quoted(value)} name={last}",
    st.sampled_from(["comment", "source", "on-event"]),
    _VALUE,
    st.sampled_from(["x", "ether1"]),
)
_EXPORT = st.lists(st.one_of(_LOGICAL, st.just("/ip address"), st.just("/system script")))
_NOISE = st.sampled_from(["# managed by CAPsMAN", '#"', "", "  ", "# x \\", "[admin@x] > "])
_UNIT = re.compile(r"\\.|.", re.DOTALL)


@st.composite
def _disguised(draw: st.DrawFn) -> tuple[list[str], str]:
    logical = draw(_EXPORT)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    physical = draw(st.lists(_NOISE, max_size=2))
    for line in logical:
        parts = [""]
        for unit in _UNIT.findall(line):
            # A cut stands after a blank only inside of a line that goes on.
            if parts[-1] and not line.startswith("/") and draw(st.integers(0, 15)) == 0:
                parts.append("")
            parts[-1] += unit
        physical += [
            ("    " if index else "") + part + ("\\" if index < len(parts) - 1 else "")
            for index, part in enumerate(parts)
        ]
        physical += draw(st.lists(_NOISE, max_size=2))
    return logical, newline.join(physical) + draw(st.sampled_from(["", newline]))


@given(_disguised())
def test_wrapping_noise_and_line_endings_never_change_the_form(
    made: tuple[list[str], str],
) -> None:
    logical, text = made
    form = routeros(text)
    assert list(form.logical) == logical
    assert form.completeness == "complete" or logical[-1].startswith("/")


@given(st.text(alphabet='a \\"\n\r/;\t', max_size=80))
def test_nothing_but_blanks_and_wraps_is_ever_lost_of_configuration(text: str) -> None:
    form = routeros(text)
    kept = "\n".join(form.logical)
    assert re.sub(r"[\s\\]", "", kept) == re.sub(r"[\s\\]", "", text)
    assert kept.count("\\") >= text.count("\\") - text.count("\n") - text.count("\r")
    assert routeros(text.replace("\r\n", "\n")).text == form.text


_PIECES = (
    "/ip address\n", "add a=1\n", "set x=2\n", "# c\n", "#", "\\\n", "\\\\\n", "\\\n    ", "    ",
    '"', '\\"', 'add c="x', '"\n', " ", "\n", "\t", "[a@b] > \n", "# by RouterOS 7.1\n", "\\", "é",
    "by RouterOS 7.2\n", "#error exporting /ip route\n", "#interrupted\n", "\r\n",
    "/ip route\n", 'add b="q"\n',
)  # fmt: skip


@given(
    st.sampled_from(["", "# by RouterOS 7.1\n/ip address\n"]),
    st.lists(st.sampled_from(_PIECES), max_size=14),
)
def test_reading_in_bulk_and_line_by_line_are_one(begin: str, pieces: list[str]) -> None:
    text = begin + "".join(pieces)
    form = routeros(text)
    assume(not form.cut)
    # A line that begins with a blank is for the slow way; one of nothing else means nothing.
    slow = routeros(f"{text}\n \n")
    assert slow == msgspec.structs.replace(form, line_count=slow.line_count, unfinished=False)


@given(
    st.lists(st.sampled_from((*_PIECES, "/ip/route/add b=1\n", "/ip route set 0\n")), max_size=14)
)
def test_lines_by_section_are_the_lines_with_their_sections(pieces: list[str]) -> None:
    text = "# by RouterOS 7.1\n/ip address\n" + "".join(pieces)
    form = logical_form(text)
    sections: dict[str, list[str]] = {}
    for section, line in form.sure_lines:
        sections.setdefault(section, []).append(line)
    assert form.by_section == sections
    canonical = routeros(text)
    assert msgspec.structs.asdict(form).items() <= msgspec.structs.asdict(canonical).items()


@given(st.lists(st.sampled_from(_PIECES), max_size=14))
def test_every_line_of_a_form_is_where_it_is_said_to_stand(pieces: list[str]) -> None:
    text = "# by RouterOS 7.1\n/ip address\n" + "".join(pieces)
    form = routeros(text)
    physical = physical_lines(text)
    spans = origins(text)
    assert len(spans) == len(form.logical)
    end = 0
    for line, (first, after) in zip(form.logical, spans, strict=True):
        assert end <= first < after
        end = after
        joined = "".join(physical[first:after])
        assert re.sub(r"[\s\\]", "", line) == re.sub(r"[\s\\]", "", joined)


@given(st.text(alphabet='a# \\"\n\r/[]@>\t', max_size=80))
def test_any_text_has_a_form(text: str) -> None:
    form = routeros(text)
    assert "\r" not in form.text
    assert all(line.strip() for line in form.logical)
    assert text_under(form.rules, text) == form.text
    assert form.cut <= (form.completeness == "partial")
    assert (form.completeness == "partial") == bool(form.warnings)
