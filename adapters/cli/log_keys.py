"""The log's keys: shown, rotated, and which of them a command trusts."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.cli.console import err, write
from adapters.cli.session import Need, session
from adapters.crypto.signing import SigningKey
from adapters.settings import Settings
from adapters.tlog.handing import hand_over
from adapters.tlog.proving import names_of
from adapters.witness.client import parse_witnesses
from domain.errors import InvalidInput, NotVerified
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.note import COSIGNATURE, ED25519, VerifierKey

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="VKEY",
        help="A verifier key to trust (name+id+key); without it, this installation's own.",
    ),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--require-witness",
        metavar="VKEY",
        help="A witness that must have cosigned every log's last checkpoint: its key, or the name "
        "of one in CONFIGTRAIL_WITNESSES. May be repeated.",
    ),
]
InStream = Annotated[
    bool, typer.Option("--stream", help="In the log of the whole stream, not in the tenant's.")
]


async def show_keys(settings: Settings) -> int:
    """Print the verifier keys of the stream's and the tenant's log, for whoever verifies, and of
    the deployment, for a witness of all its logs."""
    key = own_key(settings)
    async with session(settings, Need.NOTHING) as opened:
        names = await names_of(opened.system)
    logs = [names.origin(log) for log in (STREAM_LOG, tenant_log(settings.tenant))]
    write("".join(f"{key.verifier(name)}\n" for name in (*logs, names.base)))
    return 0


async def rotate_key(settings: Settings) -> int:
    """Hand the logs over to a new signing key, which takes the old one's place in its file.

    Keep the new key elsewhere too, give its verifier keys to whoever verifies, and destroy the old
    one: nothing that it signs from now on counts.
    """
    if settings.log_key is not None:
        raise InvalidInput("CONFIGTRAIL_LOG_KEY", "is set: only a key in a file can be rotated")
    async with session(settings, Need.NOTHING) as opened:
        retired = await hand_over(
            opened.system.log.checkpoints, settings.log_name, settings.signing_key_file
        )
    err.print(f"the logs are handed over; the old key is in {retired}: destroy it", soft_wrap=True)
    return await show_keys(settings)


def own_key(settings: Settings) -> SigningKey:
    """The log key of this installation. Raises `KeyUnavailable`."""
    if settings.log_key is not None:
        return SigningKey.from_base64(settings.log_key.get_secret_value())
    return SigningKey.from_file(settings.signing_key_file)


def trusted_keys(settings: Settings, given: list[str] | None) -> tuple[bytes, ...]:
    """The public keys to trust: those that were given, else our own. Raises `KeyUnavailable`,
    `NotVerified`."""
    if given:
        return tuple(one.public for one in _log_keys(given))
    key = own_key(settings)
    err.print(
        "checked with the log key of this installation; to trust nobody here, give --key",
        style="yellow",
    )
    return (key.public,)


def verifier_keys(
    settings: Settings, given: list[str] | None, origin: str
) -> tuple[VerifierKey, ...]:
    """The keys of a proof's log: those given count for the log of their name only."""
    if given:
        return _log_keys(given)
    if not origin.startswith(f"{settings.log_name}/"):
        raise NotVerified("the proof", "it is of another deployment's log; give its --key")
    return tuple(VerifierKey(origin, one, ED25519) for one in trusted_keys(settings, None))


def _log_keys(given: list[str]) -> tuple[VerifierKey, ...]:
    keys = tuple(VerifierKey.parse(one) for one in given)
    if any(one.kind != ED25519 for one in keys):
        raise InvalidInput("--key", "must be the key of a log (of type 1), not of a witness")
    return keys


def witness_key(settings: Settings, text: str) -> VerifierKey:
    known = {one.key.name: one.key for one in parse_witnesses(settings.witnesses)}
    if text in known:
        return known[text]
    if "+" not in text:
        raise InvalidInput(
            "--require-witness", f"must be a key, or named in CONFIGTRAIL_WITNESSES; {text} is not"
        )
    key = VerifierKey.parse(text)
    if key.kind != COSIGNATURE:
        raise InvalidInput("--require-witness", "must be a witness's key (of type 4)")
    return key
