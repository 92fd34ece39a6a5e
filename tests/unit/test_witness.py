"""The witness's rules: it cosigns what extends what it saw, and nothing else, whoever signs."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.postgres.witness_book import Asked
from adapters.witness.client import WitnessAddress, Witnesses, parse_witnesses
from adapters.witness.posting import Answered, Poster
from adapters.witness.state import WitnessState
from adapters.witness.witness import SIZE_TYPE, Witness
from domain.errors import InvalidInput
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.merkle import leaf_hash, root_of
from domain.tlog.note import COSIGNATURE, Note, parse_signatures, verified
from domain.tlog.request import WitnessRequest
from domain.tlog.tiles import TileReader, TileTree, consistency_plan

BASE = "configtrail.example/prod"
ORIGIN = f"{BASE}/tenant/acme"
LOG, OTHER, OWN = SigningKey(bytes(range(32))), SigningKey(bytes(32)), SigningKey(b"w" * 32)
NAME = "witness.example/w1"
LEAVES = [leaf_hash(bytes((number,))) for number in range(40)]
_tree = TileTree()
_tree.extend(LEAVES)
TILES = TileReader(_tree.taken())


def checkpoint(size: int, *, forked: bool = False) -> Checkpoint:
    leaves = [leaf_hash(b"another"), *LEAVES[1:]] if forked else LEAVES
    return Checkpoint(ORIGIN, size, root_of(leaves[:size]))


def request(old: int, new: int, *, forked: bool = False, key: SigningKey = LOG) -> bytes:
    hashes = tuple(TILES.join(nodes) for nodes in consistency_plan(old, new))
    return str(WitnessRequest(old, hashes, key.note(checkpoint(new, forked=forked)))).encode()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return opened(tmp_path)


def opened(folder: Path) -> Witness:
    return Witness(
        NAME,
        OWN,
        WitnessState(folder / "state" / "cosigned.db"),
        deployments=[LOG.verifier(BASE)],
        clock=lambda: 1_790_000_000.5,
    )


def test_it_cosigns_a_log_as_it_grows(witness: Witness) -> None:
    for old, new in ((0, 5), (5, 6), (6, 6), (6, 40)):
        answer = witness.add_checkpoint(request(old, new))
        assert answer.status == 200, answer
        note = LOG.note(checkpoint(new))
        cosigned = Note(note.text, parse_signatures(answer.body.encode()))
        key = OWN.verifier(NAME, COSIGNATURE)
        assert verified(cosigned, [key], check_ed25519) == (key,)


def test_it_remembers_over_a_restart(tmp_path: Path) -> None:
    assert opened(tmp_path).add_checkpoint(request(0, 9)).status == 200
    answer = opened(tmp_path).add_checkpoint(request(0, 12))
    assert (answer.status, answer.body, answer.media_type) == (409, "9\n", SIZE_TYPE)
    assert opened(tmp_path).add_checkpoint(request(9, 12)).status == 200


def test_it_refuses_a_fork_that_the_true_key_signed(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 9)).status == 200
    assert witness.add_checkpoint(request(9, 12, forked=True)).status == 422
    assert witness.add_checkpoint(request(9, 9, forked=True)).status == 409
    assert witness.add_checkpoint(request(9, 12)).status == 200, "and goes on with the true one"


def test_it_refuses_to_go_back(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 9)).status == 200
    answer = witness.add_checkpoint(request(5, 5))
    assert (answer.status, answer.body) == (409, "9\n")
    body = request(5, 9).replace(b"old 5", b"old 10")
    assert witness.add_checkpoint(body).status == 400


def test_it_knows_only_its_logs_and_their_keys(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 9, key=OTHER)).status == 403
    elsewhere = LOG.note(Checkpoint("configtrail.example/production/x", 3, bytes(32)))
    body = str(WitnessRequest(0, (), elsewhere)).encode()
    assert witness.add_checkpoint(body).status == 404
    assert witness.add_checkpoint(b"old 0\n").status == 400
    assert witness.add_checkpoint(request(0, 9).replace(b"old 0", b"old 00")).status == 400
    assert witness.add_checkpoint(request(0, 9)).status == 200


def test_from_nothing_there_is_nothing_to_prove(witness: Witness) -> None:
    body = request(0, 9).replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"=\n")
    assert witness.add_checkpoint(body).status == 422


class Tiles:
    """Proofs straight from the tiles of this test."""

    async def consistency(self, name: str, old: int, sealed: object) -> object:
        hashes = tuple(TILES.join(nodes) for nodes in consistency_plan(old, 12))
        return WitnessRequest(old, hashes, LOG.note(checkpoint(12)))


ADDRESS = WitnessAddress("http://witness.example", OWN.verifier(NAME, COSIGNATURE))


async def cosigned(answers: list[Answered] | Witness) -> tuple[Note, int]:
    asked = 0

    async def post(url: str, body: bytes) -> Answered:
        nonlocal asked
        asked += 1
        if isinstance(answers, Witness):
            answer = answers.add_checkpoint(body)
            return Answered(answer.status, answer.body.encode())
        return answers[min(asked, len(answers)) - 1]

    witnesses = Witnesses([ADDRESS], post=post)
    note = LOG.note(checkpoint(12))
    made = await witnesses.cosign(Tiles(), "tenant/acme", checkpoint(12), note)  # type: ignore[arg-type]
    assert made.complete == (len(made.note.signatures) == 2)
    return made.note, asked


async def test_a_client_that_knows_nothing_asks_from_where_the_witness_is(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 9)).status == 200
    note, asked = await cosigned(witness)
    assert (len(note.signatures), asked) == (2, 2)


async def test_a_witness_that_keeps_answering_409_is_left_alone() -> None:
    note, asked = await cosigned(
        [Answered(409, b"3\n"), Answered(409, b"4\n"), Answered(409, b"5\n")]
    )
    assert (len(note.signatures), asked) == (1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        Answered(409, b"13\n"),
        Answered(409, b"another root\n"),
        Answered(422, b"no\n"),
        Answered(500, b""),
        Answered(200, b""),
        Answered(200, OTHER.cosign(NAME, checkpoint(12).text, 1).line.encode()),
        Answered(200, OWN.cosign(NAME, checkpoint(11).text, 1).line.encode()),
    ],
)
async def test_an_answer_that_is_no_cosignature_is_not_passed_on(answer: Answered) -> None:
    note, asked = await cosigned([answer])
    assert note == LOG.note(checkpoint(12))
    assert asked == 1


async def test_what_a_witness_says_of_a_fork_is_told_in_its_words(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 12, forked=True)).status == 200
    told: list[Asked] = []

    async def report(asked: Asked) -> None:
        told.append(asked)

    async def post(url: str, body: bytes) -> Answered:
        answer = witness.add_checkpoint(body)
        return Answered(answer.status, answer.body.encode())

    witnesses = Witnesses([ADDRESS], post=post, report=report)
    note = LOG.note(checkpoint(12))
    await witnesses.cosign(Tiles(), "tenant/acme", checkpoint(12), note)  # type: ignore[arg-type]
    assert [one.outcome for one in told] == ["refused"]
    assert "another root was cosigned for this size" in told[0].told


def test_witnesses_are_given_as_addresses_and_keys() -> None:
    text = f"https://a.example {ADDRESS.key}, http://b.example/w/ {ADDRESS.key}"
    assert [one.url for one in parse_witnesses(text)] == ["https://a.example", "http://b.example/w"]
    assert parse_witnesses("") == ()
    for wrong in (
        "https://a.example",
        f"a.example {ADDRESS.key}",
        f"https://a {LOG.verifier(NAME)}",
    ):
        with pytest.raises(InvalidInput):
            parse_witnesses(wrong)


async def posted(answer: bytes) -> Answered:
    """What comes of a server that answers any request with these bytes, and then with no more."""

    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        if not answer:
            await reader.read()  # it keeps silent until the other side has gone
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        try:
            return await Poster(0.2)(f"http://127.0.0.1:{port}/add-checkpoint", b"x")
        finally:
            await served.wait()


async def test_what_a_witness_answers_is_taken_as_it_is() -> None:
    told = b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nConnection: close\r\n\r\n7\n"
    assert await posted(told) == Answered(409, b"7\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_http_or_does_not_come_is_an_absent_witness(
    answer: bytes,
) -> None:
    with pytest.raises(OSError, match=r"does not answer within|no HTTP|timed out"):
        await posted(answer)


async def test_a_witness_is_not_followed_to_where_it_points() -> None:
    told = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert (await posted(told)).status == 302


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("scheme", "begun"),
    [
        ("http", HEAD + b"x: "),
        ("http", HEAD + b"Content-Length: 60000\r\n\r\n"),
        ("https", b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"),
    ],
    ids=["its headers", "its body", "its part of the handshake"],
)
@pytest.mark.parametrize("stopped", [False, True], ids=["out of time", "the program ends"])
async def test_one_that_never_ends_its_answer_is_left(
    scheme: str, begun: bytes, *, stopped: bool
) -> None:
    begins = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        gone = asyncio.ensure_future(reader.read())  # all, until the other side has gone
        piece = begun
        while not gone.done():
            writer.write(piece)
            piece = b"y"
            begins.set()
            await asyncio.wait([gone], timeout=0.02)
        gone.exception()
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        poster = Poster(3600 if stopped else 0.2)
        asking = asyncio.ensure_future(poster(f"{scheme}://127.0.0.1:{port}/add-checkpoint", b"x"))
        if stopped:
            await begins.wait()
            asking.cancel()
        with pytest.raises(asyncio.CancelledError if stopped else OSError):
            await asking
        # Its thread is free for others.
        await asyncio.wait(poster._asking.values())


NO_NAME_SERVER = """
import asyncio, socket, threading
from adapters.witness.posting import Poster

def hang(*_, **__):
    threading.Event().wait()

async def main():
    socket.getaddrinfo = hang
    poster = Poster(0.2)
    for told in ("does not answer within", "still answering"):
        try:
            await poster("http://witness.example/add-checkpoint", b"x")
        except OSError as error:
            assert told in str(error), error
        else:
            raise AssertionError

asyncio.run(main())
"""


async def test_a_name_server_that_hangs_does_not_hold_up_the_programs_end() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", NO_NAME_SERVER)
    try:
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
