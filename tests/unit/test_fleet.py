"""The made-up fleet: always the same, realistic, and what it expects follows from the rules."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.demo.devices import DEVICES, SECRET_EDIT, DeviceHistory
from adapters.demo.export import Form, Note, render, wrapped
from adapters.demo.fleet import SHOWN, TENANT, Broken, Expected, Reading, fleet
from domain.canonical import ROUTEROS, Canonical, canonicalise, detect_platform
from domain.decisions import confirmed, created
from domain.device import (
    AlreadyRecorded,
    Confirms,
    DeviceState,
    History,
    IsNew,
    classify,
    evolve,
    needs_history,
)
from domain.diffing import section_changes
from domain.envelope import NewEvent, StoredEvent
from domain.errors import InvalidInput
from domain.events import ContentRef, DuplicateSkipped, SnapshotCreated
from domain.ids import canonical_fingerprint, observation_id, text_fingerprint
from domain.intake import check_text, parse_observation
from domain.observation import Observation

KEY = bytes(32)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BY_ID = {history.device_id: history for history in DEVICES}


def form_of(reading: Reading) -> Canonical:
    return canonicalise(reading.text, ROUTEROS)


def readings(device_id: str) -> list[Reading]:
    """A device's readings in time order, each once."""
    found = {
        one.index: one
        for one in fleet().deliveries
        if isinstance(one, Reading) and one.device_id == device_id
    }
    return [found[index] for index in sorted(found)]


def index_of(device_id: str, word: str) -> int:
    """The one reading whose words hold `word`."""
    found = [one.index for one in readings(device_id) if word in one.shows]
    assert len(found) == 1, found
    return found[0]


def observed(reading: Reading) -> Observation:
    sha256_hash = hashlib.sha256(reading.text.encode()).hexdigest()
    canonical = form_of(reading)
    return Observation(
        observation_id=observation_id(
            KEY, TENANT, reading.device_id, reading.collected_at, sha256_hash
        ),
        tenant_id=TENANT,
        device_id=reading.device_id,
        collected_at=reading.collected_at,
        fingerprint=canonical_fingerprint(KEY, canonical.rules, canonical.text),
        text_fingerprint=text_fingerprint(KEY, sha256_hash),
        canonical=canonical.rules,
        size_bytes=len(reading.text),
        line_count=canonical.line_count,
        platform=ROUTEROS,
        os_version=canonical.os_version,
        source="scheduled",
        completeness=canonical.completeness,
    )


class Folded:
    """A device's history, folded without any server: each reading decided on as it arrives."""

    def __init__(self, arriving: Iterable[Reading]) -> None:
        self.state = DeviceState()
        self.events: list[StoredEvent] = []
        self.repeated = 0
        for reading in arriving:
            self._take(reading)

    def _take(self, reading: Reading) -> None:
        observation = observed(reading)
        history = History.of(self.events) if needs_history(self.state, observation) else None
        content = ContentRef(sequence=len(self.events) + 1, commitment="00")
        match classify(self.state, observation, history):
            case AlreadyRecorded():
                self.repeated += 1
            case Confirms() as verdict:
                self._append(confirmed(observation, verdict))
            case IsNew() as verdict:
                self._append(created(observation, verdict, content))

    def _append(self, new: NewEvent) -> None:
        place = len(self.events) + 1
        stored = StoredEvent(
            position=place,
            version=place,
            stored_at=NOW,
            event_id=new.event_id,
            tenant_id=new.tenant_id,
            device_id=new.device_id,
            occurred_at=new.occurred_at,
            event=new.event,
        )
        self.events.append(stored)
        self.state = evolve(self.state, stored)

    @property
    def created(self) -> list[SnapshotCreated]:
        """The snapshots by collection time."""
        found = [one.event for one in self.events if isinstance(one.event, SnapshotCreated)]
        return sorted(found, key=lambda event: event.collected_at)

    @property
    def confirmations(self) -> int:
        return sum(isinstance(one.event, DuplicateSkipped) for one in self.events)


def arriving(device_id: str) -> Iterator[Reading]:
    for delivery in fleet().deliveries:
        if isinstance(delivery, Reading) and delivery.device_id == device_id:
            yield delivery


def test_it_is_the_same_every_time() -> None:
    assert fleet.__wrapped__() == fleet.__wrapped__()


def test_eight_devices_have_six_readings_each() -> None:
    assert len(BY_ID) == len(DEVICES) == 8
    assert all(len(readings(device_id)) == 6 for device_id in BY_ID)


def test_messages_come_in_the_order_of_arrival_within_a_week_of_early_2026() -> None:
    told = [one for one in fleet().deliveries if isinstance(one, Reading)]
    assert min(one.collected_at for one in told).date().isoformat() == "2026-03-01"
    assert max(one.arrives_at for one in told).date().isoformat() == "2026-03-06"
    once = dict.fromkeys(told)
    assert [one.arrives_at for one in once] == sorted(one.arrives_at for one in once)


@pytest.mark.parametrize("expected", fleet().expected, ids=lambda one: one.device_id)
def test_what_it_expects_follows_from_the_rules(expected: Expected) -> None:
    folded = Folded(arriving(expected.device_id))
    assert [one.collected_at for one in folded.created] == [
        one.collected_at for one in expected.began
    ]
    assert folded.confirmations == expected.confirmations
    assert len(folded.state.pending_diffs) == expected.diffs
    assert folded.state.last_observed_at == expected.newest.collected_at
    assert folded.state.current is not None
    assert folded.state.current.ref.snapshot_id == folded.created[-1].snapshot_id
    late = [one.collected_at for one in folded.created if one.successor is not None]
    assert late == ([expected.late.collected_at] if expected.late else [])
    partial = [one.collected_at for one in folded.created if one.completeness == "partial"]
    assert partial == ([expected.partial.collected_at] if expected.partial else [])


@pytest.mark.parametrize("device_id", BY_ID)
def test_playing_it_again_adds_nothing(device_id: str) -> None:
    once = Folded(arriving(device_id))
    twice = Folded([*arriving(device_id), *arriving(device_id)])
    assert twice.events == once.events


def test_exactly_one_reading_is_delivered_again_one_is_late_and_one_is_partial() -> None:
    assert sum(Folded(arriving(device_id)).repeated for device_id in BY_ID) == 1
    assert sum(one.late is not None for one in fleet().expected) == 1
    assert sum(one.partial is not None for one in fleet().expected) == 1


@pytest.mark.parametrize("history", DEVICES, ids=lambda one: one.device_id)
def test_noise_changes_the_text_and_not_the_configuration(history: DeviceHistory) -> None:
    for before, after in itertools.pairwise(readings(history.device_id)):
        same = form_of(before).text == form_of(after).text
        assert same == (after.index not in history.new)
        assert (before.text == after.text) == (after.shows == "the same, to the byte")


def test_every_kind_of_noise_is_there() -> None:
    told = {one.shows for device_id in BY_ID for one in readings(device_id)}
    assert {
        "only the time in the header is new",
        "only status lines are new",
        "the same, with lines cut elsewhere",
    } <= told


def test_status_lines_and_wrapping_are_noise_below_the_header() -> None:
    for device_id, word in (("ap-office", "status lines"), ("branch-leipzig", "cut elsewhere")):
        index = index_of(device_id, word)
        before, after = readings(device_id)[index - 1 : index + 1]
        assert before.text.splitlines()[1:] != after.text.splitlines()[1:]
        assert form_of(before).text == form_of(after).text


def test_a_reordering_is_a_change_of_order_only() -> None:
    index = index_of("branch-dresden", "order")
    before, after = (form_of(one) for one in readings("branch-dresden")[index - 1 : index + 1])
    assert before.text != after.text
    assert sorted(before.logical) == sorted(after.logical)


def test_a_changed_secret_is_a_change_of_nothing_else() -> None:
    index = index_of("ap-office", "secret")
    before, after = (form_of(one) for one in readings("ap-office")[index - 1 : index + 1])
    assert before.text.replace(SECRET_EDIT.old, SECRET_EDIT.new) == after.text != before.text


def test_the_last_change_of_the_shown_device_is_a_firewall_edit() -> None:
    before, after = (form_of(one) for one in fleet().of(SHOWN).began[-2:])
    assert [one.section for one in section_changes(before, after)] == ["/ip firewall filter"]


def test_a_device_goes_back_to_an_earlier_configuration() -> None:
    began = [form_of(one).text for one in fleet().of("edge-hamburg").began]
    assert began[0] == began[2] != began[1]


def test_the_partial_export_claims_no_change() -> None:
    partial = fleet().of("core-frankfurt").partial
    assert partial is not None
    around = [form_of(one) for one in readings("core-frankfurt")[1:4]]
    assert around[1].unread == ("/routing ospf interface-template",)
    assert section_changes(around[0], around[1]) == section_changes(around[1], around[2]) == ()


def test_the_broken_message_breaks_the_rule_that_it_names() -> None:
    broken = fleet().broken
    assert [one for one in fleet().deliveries if isinstance(one, Broken)] == [broken]
    observation = parse_observation(broken.body, NOW)
    assert observation.config_text is not None
    with pytest.raises(InvalidInput) as refused:
        check_text(observation.config_text, observation.sha256_hash)
    assert refused.value.field == broken.field


@pytest.mark.parametrize("history", DEVICES, ids=lambda one: one.device_id)
def test_exports_have_the_forms_of_their_versions(history: DeviceHistory) -> None:
    for reading in readings(history.device_id):
        assert detect_platform(reading.text) == ROUTEROS
        assert form_of(reading).os_version == history.form.version
        carriage_returns = reading.text.count("\n") if history.form.crlf else 0
        assert reading.text.count("\r") == reading.text.count("\r\n") == carriage_returns
        assert max(map(len, reading.text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("header", "version", "line"),
    [
        ("month", "6.49.10", "# mar/04/2026 05:06:07 by RouterOS 6.49.10"),
        ("padded", "6.48.6", "# mar/ 4/2026  5: 6: 7 by RouterOS 6.48.6"),
        ("iso", "7.14.3", "# 2026-03-04 05:06:07 by RouterOS 7.14.3"),
        ("masked", "7.19.1", "# by RouterOS 7.19.1"),
    ],
)
def test_by_lines_are_those_of_real_exports(header: str, version: str, line: str) -> None:
    form = Form(version=version, header=header, identity=("model = x",))  # type: ignore[arg-type]
    text = render(("/ip dns",), form, MOMENT)
    assert text == f"{line}\n# model = x\n#\n/ip dns\n"


@given(
    st.text(alphabet='ab =,"\\/#[]$', max_size=400).filter(lambda one: one == one.strip()),
    st.integers(60, 100),
)
def test_wrapped_lines_join_to_what_they_were(tail: str, width: int) -> None:
    # An even run of backslashes is no wrapping; quotes in pairs: a string that ends nowhere is cut.
    value = tail.replace("\\", "\\\\").replace('"', '\\"')
    line = f'add comment="{value}" list=x'
    pieces = wrapped(line, width)
    assert all(piece.endswith("\\") for piece in pieces[:-1])
    assert all(piece.startswith("    ") for piece in pieces[1:])
    form = canonicalise("/ip firewall address-list\n" + "\n".join(pieces) + "\n", ROUTEROS)
    assert form.logical == ("/ip firewall address-list", line)
    assert form.completeness == "complete"


def test_a_note_or_a_menu_without_a_place_is_refused() -> None:
    form = DEVICES[0].form
    with pytest.raises(ValueError, match="note"):
        render(("/ip dns",), form, MOMENT, notes=(Note("/ip route", "x"),))
    with pytest.raises(ValueError, match="no menu"):
        render(("/ip dns",), form, MOMENT, unread="/ip route")
