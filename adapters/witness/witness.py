"""The witness's judgement, as C2SP tlog-witness says, and the service over HTTP around it.

Invariant: for one log it never cosigns two checkpoints of which the later does not extend the
earlier, whoever signed them, the log's true key included.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.witness.state import Seen, WitnessState
from domain.errors import NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.merkle import EMPTY_ROOT, consistency_holds
from domain.tlog.note import VerifierKey, verified
from domain.tlog.request import WitnessRequest, parse_request

log = logging.getLogger(__name__)

SIZE_TYPE = "text/x.tlog.size"
_BODY_MAX = 128 * 1024


class Answer(Struct, frozen=True):
    """A status of HTTP and a body."""

    status: int
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


class Witness:
    """`logs`: the keys of logs, each for the log of its name; `deployments`: keys that speak for
    every log whose name begins with theirs and a slash."""

    def __init__(
        self,
        name: str,
        key: SigningKey,
        state: WitnessState,
        *,
        logs: Sequence[VerifierKey] = (),
        deployments: Sequence[VerifierKey] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._key = key
        self._state = state
        self._logs = tuple(logs)
        self._deployments = tuple(deployments)
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> Answer:
        """Judge a request, and cosign when it is right."""
        try:
            request = parse_request(body)
            checkpoint = parse_checkpoint(request.note.text)
        except NotVerified as error:
            return Answer(400, f"{error}\n")
        keys = self._keys(checkpoint.origin)
        if not keys:
            return Answer(404, "this log is not known here\n")
        try:
            verified(request.note, keys, check_ed25519)
        except NotVerified as error:
            return Answer(403, f"{error}\n")
        if request.old_size > checkpoint.size:
            return Answer(400, "the old size is larger than the checkpoint's\n")
        with self._state.exclusively():
            seen = self._state.seen(checkpoint.origin)
            refusal = _refusal(request, checkpoint, seen)
            if refusal is None:
                self._state.keep(checkpoint.origin, Seen(checkpoint.size, checkpoint.root))
        if refusal is not None:
            if refusal.status == 422 or refusal.media_type != SIZE_TYPE:
                # Two heads under the log's own signature: what a judge would want to see.
                log.error(
                    "%s at size %d is NOT consistent with size %d that was cosigned: %s",
                    checkpoint.origin,
                    checkpoint.size,
                    seen.size,
                    str(request.note).replace("\n", "\\n"),
                )
            return refusal
        line = self._key.cosign(self._name, request.note.text, int(self._clock())).line
        return Answer(200, line)

    def _keys(self, origin: str) -> list[VerifierKey]:
        keys = [key for key in self._logs if key.name == origin]
        keys += [
            VerifierKey(origin, key.public)
            for key in self._deployments
            if origin.startswith(f"{key.name}/")
        ]
        return keys


def _refusal(request: WitnessRequest, checkpoint: Checkpoint, seen: Seen) -> Answer | None:
    if request.old_size != seen.size:
        return Answer(409, f"{seen.size}\n", SIZE_TYPE)
    if seen.size == checkpoint.size:
        root = seen.root if seen.size else EMPTY_ROOT
        if checkpoint.root != root:
            return Answer(409, "another root was cosigned for this size\n")
        return None if not request.hashes else Answer(422, "there is nothing to prove\n")
    if seen.size == 0:
        return None if not request.hashes else Answer(422, "from size 0 the proof is empty\n")
    holds = consistency_holds(
        seen.size, seen.root, checkpoint.size, checkpoint.root, request.hashes
    )
    return None if holds else Answer(422, "it does not extend what was cosigned\n")


def witness_app(witness: Witness) -> Starlette:
    """The service: `POST /add-checkpoint`. One request at a time: each ends with a sync."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _BODY_MAX:
                return Response("too long\n", 413)
        answer = witness.add_checkpoint(body)
        return Response(answer.body, answer.status, media_type=answer.media_type)

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])
