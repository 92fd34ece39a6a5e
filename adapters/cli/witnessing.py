"""`configtrail witness`: a second party that cosigns checkpoints, to be run by somebody else."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.console import out
from adapters.crypto.signing import SigningKey
from adapters.http.app import serve
from adapters.settings import Settings
from adapters.witness.state import WitnessState
from adapters.witness.witness import Witness, witness_app
from domain.errors import InvalidInput
from domain.tlog.note import COSIGNATURE, VerifierKey, is_key_name

_KEY = "the witness key"


async def witness(
    settings: Settings,
    *,
    name: Annotated[str, typer.Option(help="Its name, such as witness.example/w1.")],
    deployments: Annotated[
        list[str] | None,
        typer.Option(
            "--deployment", metavar="VKEY", help="The key of a deployment: of all its logs."
        ),
    ] = None,
    logs: Annotated[
        list[str] | None, typer.Option("--log", metavar="VKEY", help="The key of one log.")
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="Where its key and what it has cosigned are kept.")
    ] = Path(".configtrail-witness"),
    host: Annotated[str, typer.Option(help="The address to serve.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to serve.")] = 8490,
) -> int:
    """Cosign checkpoints that extend what was cosigned before, and no others (C2SP tlog-witness).

    Needs no other server. Its worth is that it is run by somebody else than the logs are.
    """
    if not is_key_name(name):
        raise InvalidInput("--name", "must be without spaces and '+'")
    if not (deployments or logs):
        raise InvalidInput("--deployment or --log", "must say whose checkpoints to cosign")
    path = folder / "witness.key"
    key = await asyncio.to_thread(_key, path)
    with closing(WitnessState(folder / "cosigned.db")) as state:
        service = Witness(
            name,
            key,
            state,
            logs=[VerifierKey.parse(one) for one in logs or ()],
            deployments=[VerifierKey.parse(one) for one in deployments or ()],
        )
        vkey = str(key.verifier(name, COSIGNATURE))

        def tell(address: str) -> None:
            out.print(f"{address} {vkey}", markup=False, soft_wrap=True)

        await serve(witness_app(service), host, port, started=tell, public=True)
    return 0


def _key(path: Path) -> SigningKey:
    try:
        return SigningKey.generate_file(path, _KEY)
    except FileExistsError:
        return SigningKey.from_file(path, _KEY)
