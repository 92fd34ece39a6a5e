"""Notes, checkpoints, keys and proofs as texts: the standards' examples, and strictness."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from adapters.crypto.signing import SigningKey, check_ed25519
from domain.errors import KeyUnavailable, NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.leaf import RawEvent, duplicate_header, hash_of, leaf_data
from domain.tlog.merkle import leaf_hash, node_hash
from domain.tlog.note import (
    COSIGNATURE,
    Note,
    Signature,
    VerifierKey,
    cosignature_time,
    parse_note,
    parse_signatures,
    verified,
)
from domain.tlog.proof import (
    ConsistencyProof,
    InclusionProof,
    check_consistency,
    check_inclusion,
    parse_proof,
)
from tests.vectors import vectors

ORIGIN = "configtrail.example/prod/tenant/acme"
KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(32))
LEAVES = [leaf_hash(bytes((number,))) for number in range(3)]
ROOT2 = node_hash(LEAVES[0], LEAVES[1])
ROOT = node_hash(ROOT2, LEAVES[2])
CHECKPOINT = Checkpoint(ORIGIN, 3, ROOT)
NOTE = KEY.note(CHECKPOINT)
TRUSTED = (KEY.verifier(ORIGIN),)

# The example of C2SP signed-note (and of Go's note package), and the key that verifies it.
EXAMPLE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)
EXAMPLE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def with_text(text: str) -> bytes:
    """A note over any text, signed."""
    key = KEY.verifier(ORIGIN)
    made = KEY._private.sign(text.encode())
    return str(Note(text, (Signature(key.name, key.key_id, made),))).encode()


def test_the_example_of_the_standard_verifies() -> None:
    key = VerifierKey.parse(EXAMPLE_KEY)
    note = parse_note(EXAMPLE.encode())
    assert str(note) == EXAMPLE
    assert str(key) == EXAMPLE_KEY
    assert verified(note, [key], check_ed25519) == (key,)
    altered = parse_note(EXAMPLE.replace("then", "than").encode())
    with pytest.raises(NotVerified, match="not over this text"):
        verified(altered, [key], check_ed25519)


def test_what_was_signed_reads_back_as_it_was() -> None:
    raw = str(NOTE).encode()
    assert parse_note(raw) == NOTE
    assert parse_checkpoint(NOTE.text) == CHECKPOINT
    assert verified(parse_note(raw), TRUSTED, check_ed25519) == TRUSTED
    assert KEY.note(CHECKPOINT) == NOTE, "signing again gives the same bytes"


def test_another_key_of_the_same_name_is_unknown_here() -> None:
    with pytest.raises(NotVerified, match="no key that is trusted"):
        verified(OTHER.note(CHECKPOINT), TRUSTED, check_ed25519)
    both = Note(NOTE.text, (OTHER.sign(CHECKPOINT), *NOTE.signatures))
    assert verified(both, TRUSTED, check_ed25519) == TRUSTED, "unknown signatures are ignored"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        str(NOTE).encode()[:-1],
        str(NOTE).encode() + b"\n",
        str(NOTE).replace("\n", "\r\n").encode(),
        str(NOTE).replace("\u2014 ", "- ").encode(),
        str(NOTE).replace("\u2014 ", "\u2014  ").encode(),
        str(NOTE).replace(" ", "\t").encode(),
        str(NOTE).replace("=\n", "\n").encode(),
        str(NOTE).encode() + b"\xe2\x80\x94 name +\n",
        str(NOTE).encode() + b"\xe2\x80\x94 na+me AAAAAAAA\n",
        str(NOTE).encode() + b"\xe2\x80\x94 name AAAA\n",
        str(NOTE).encode() + b"\xe2\x80\x94 name AAAAAAB=\n",
        b"\xff" + str(NOTE).encode(),
        str(NOTE).encode() + b"\xe2\x80\x94 name AAAAAAAA\n" * 64,
        b"x" * 70_000 + str(NOTE).encode(),
    ],
)
def test_a_note_in_any_other_form_is_refused(raw: bytes) -> None:
    with pytest.raises(NotVerified):
        parse_note(raw)


def test_a_note_may_have_sixteen_signatures() -> None:
    raw = str(NOTE).encode() + b"\xe2\x80\x94 name AAAAAAAA\n" * 15
    assert verified(parse_note(raw), TRUSTED, check_ed25519) == TRUSTED


@pytest.mark.parametrize(
    "size", ["1_000", "+5", " 5", "5 ", "-5", "٣", "05", "", "0x5", "5.0", "9223372036854775808"]
)
def test_a_size_has_one_form(size: str) -> None:
    root = base64.b64encode(ROOT).decode()
    with pytest.raises(NotVerified):
        parse_checkpoint(f"{ORIGIN}\n{size}\n{root}\n")
    # The signature is right, and doesn't help.
    parsed = parse_note(with_text(f"{ORIGIN}\n{size}\n{root}\n"))
    with pytest.raises(NotVerified):
        parse_checkpoint(parsed.text)


@pytest.mark.parametrize("size", [0, 5, 1000, 2**63 - 1])
def test_sizes_up_to_the_largest_are_read(size: int) -> None:
    assert parse_checkpoint(Checkpoint(ORIGIN, size, ROOT).text).size == size


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n3\n",
        f"{ORIGIN}\n3\nAAAA\n",
        f"{ORIGIN}\n3\n{base64.b64encode(ROOT).decode()}",
        f"{ORIGIN}\n3\n{base64.b64encode(ROOT).decode()}\nextension\n",
        f"{ORIGIN}\n3\n{base64.b64encode(ROOT).decode()[:-2]}9=\n",
        f"{ORIGIN}\n3\n{base64.b64encode(ROOT).decode()[:-1]}\n",
        f"{ORIGIN}\n3\n {base64.b64encode(ROOT).decode()}\n",
        f"two words\n3\n{base64.b64encode(ROOT).decode()}\n",
        f"\n3\n{base64.b64encode(ROOT).decode()}\n",
    ],
)
def test_a_checkpoint_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(NotVerified):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000+AAAA", EXAMPLE_KEY.replace("c74f", "c74e"), EXAMPLE_KEY + "="],
)
def test_a_verifier_key_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(NotVerified):
        VerifierKey.parse(text)


def test_an_inclusion_proof_holds_for_its_event_log_and_key() -> None:
    proof = InclusionProof(1, (LEAVES[0], LEAVES[2]), NOTE, b"leaf data")
    parsed = parse_proof(str(proof).encode())
    assert parsed == proof
    assert isinstance(parsed, InclusionProof)
    assert check_inclusion(parsed, LEAVES[1], TRUSTED, check_ed25519) == CHECKPOINT
    with pytest.raises(NotVerified, match="not entry 1"):
        check_inclusion(parsed, LEAVES[0], TRUSTED, check_ed25519)
    other_tenant = (KEY.verifier("configtrail.example/prod/tenant/globex"),)
    with pytest.raises(NotVerified, match="no key that is trusted"):
        check_inclusion(parsed, LEAVES[1], other_tenant, check_ed25519)


def test_a_key_of_one_log_does_not_vouch_for_another() -> None:
    elsewhere = Checkpoint("configtrail.example/prod/tenant/globex", 3, ROOT)
    key = KEY.verifier(ORIGIN)
    made = KEY._private.sign(elsewhere.text.encode())
    note = Note(elsewhere.text, (Signature(key.name, key.key_id, made),))
    with pytest.raises(NotVerified):
        check_inclusion(InclusionProof(0, (), note), LEAVES[0], TRUSTED, check_ed25519)


def test_a_consistency_proof_holds_for_its_two_sizes() -> None:
    proof = ConsistencyProof(2, ROOT2, (LEAVES[2],), NOTE)
    parsed = parse_proof(str(proof).encode())
    assert parsed == proof
    assert isinstance(parsed, ConsistencyProof)
    assert check_consistency(parsed, TRUSTED, check_ed25519) == CHECKPOINT
    with pytest.raises(NotVerified, match="did not grow"):
        check_consistency(ConsistencyProof(2, ROOT, (LEAVES[2],), NOTE), TRUSTED, check_ed25519)


@pytest.mark.parametrize(
    "head",
    [
        "c2sp.org/tlog-proof@v2\nindex 1",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nindex 01",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA",
        "c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA",
        "c2sp.org/tlog-proof@v1\nextra A\nindex 1",
        "configtrail/consistency-proof@v1\nold 2",
        "configtrail/consistency-proof@v1\nindex 2",
    ],
)
def test_a_proof_in_any_other_form_is_refused(head: str) -> None:
    with pytest.raises(NotVerified):
        parse_proof(f"{head}\n\n{NOTE}".encode())


def test_a_cosignature_tells_its_time_and_is_over_it() -> None:
    witness = OTHER.verifier("witness.example/w1", COSIGNATURE)
    line = OTHER.cosign("witness.example/w1", NOTE.text, 1_790_000_000)
    assert cosignature_time(line) == 1_790_000_000
    assert parse_signatures(line.line.encode()) == (line,)
    assert VerifierKey.parse(str(witness)) == witness
    note = Note(NOTE.text, (*NOTE.signatures, line))
    assert verified(note, [*TRUSTED, witness], check_ed25519) == (*TRUSTED, witness)
    later = Signature(line.name, line.key_id, (2).to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(NotVerified):
        verified(Note(NOTE.text, (later,)), [witness], check_ed25519)


def test_every_field_of_an_event_is_in_its_leaf() -> None:
    event = RawEvent(7, 123, "configtrail.a.b.C", b"NATS/1.0\r\na: b\r\n\r\n", b"{}")
    assert leaf_data("S", event).startswith(b"configtrail/leaf/v1\n\x00\x01S\x00\x00")
    others = [
        RawEvent(8, 123, event.subject, event.block, event.body),
        RawEvent(7, 124, event.subject, event.block, event.body),
        RawEvent(7, 123, "configtrail.a.b.D", event.block, event.body),
        RawEvent(7, 123, event.subject, event.block + b" ", event.body),
        RawEvent(7, 123, event.subject, event.block, event.body + b" "),
    ]
    hashes = {hash_of("S", one) for one in (event, *others)} | {hash_of("T", event)}
    assert len(hashes) == 7


def test_a_header_that_is_there_twice_is_found_in_any_case() -> None:
    assert duplicate_header(b"NATS/1.0\r\na: 1\r\nb: 1\r\n\r\n") is None
    assert duplicate_header(b"NATS/1.0\r\nce-id: 1\r\nCE-ID:2\r\n\r\n") == b"ce-id"


def test_published_edge_cases_of_signatures_are_judged_as_by_the_reference() -> None:
    given = json.loads((vectors("ed25519") / "ed25519vectors.json").read_text())
    accepted = sum(
        check_ed25519(bytes.fromhex(one["key"]), one["msg"].encode(), bytes.fromhex(one["sig"]))
        for one in given
    )
    assert (len(given), accepted) == (914, 208)


def test_the_key_file_is_whole_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.key"
    made = SigningKey.generate_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.from_file(path).public == made.public
    with pytest.raises(FileExistsError):
        SigningKey.generate_file(path)
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="others may use"):
        SigningKey.from_file(path)
    with pytest.raises(KeyUnavailable, match="no file"):
        SigningKey.from_file(tmp_path / "absent")
    with pytest.raises(KeyUnavailable, match="not base64"):
        SigningKey.from_base64("?")
    assert base64.b64encode(bytes(range(32))).decode() not in repr(KEY)
