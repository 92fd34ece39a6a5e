"""Proofs for whoever asks: whose event it is, which log, what the proof is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from adapters.tlog.proofs import Prover
from domain.errors import NotFound, NotVerified
from domain.tlog.leaf import leaf_data
from domain.tlog.merkle import inclusion_holds, leaf_hash
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log, tenant_of_subject
from domain.tlog.proof import InclusionProof

if TYPE_CHECKING:
    from adapters.composition import System


async def names_of(system: System) -> LogNames:
    """The names of the logs over the system's stream."""
    return LogNames(system.settings.log_name, await system.log.events.identity())


async def prover_of(system: System) -> Prover:
    """What proves things about those logs."""
    return Prover(system.log.tiles, system.log.checkpoints, await names_of(system))


async def prove_event(
    system: System, tenant_id: str, position: int, *, in_stream: bool = False
) -> InclusionProof:
    """That a tenant's event is in its log, or in the stream's. The leaf stands in `extra`.

    Raises `NotFound` for an event that there is not, or is another tenant's, or is not sealed yet;
    `NotVerified` when the stream holds something else there than what is in the log.
    """
    if await system.log.tiles.index(tenant_log(tenant_id), position) is None:
        # What another tenant did is as what there is not, also in time: it is not even read.
        raise NotFound("sealed event at position", str(position))
    event = await system.log.events.get(position)
    if tenant_of_subject(event.subject) != tenant_id:
        raise NotFound("event at position", str(position))
    prover = await prover_of(system)
    log = STREAM_LOG if in_stream else tenant_log(tenant_id)
    sealed = await prover.sealed(log)
    proof = await prover.inclusion(log, position, sealed)
    data = leaf_data(system.log.events.stream, event)
    size, root = sealed.checkpoint.size, sealed.checkpoint.root
    if not inclusion_holds(leaf_hash(data), proof.index, size, proof.hashes, root):
        raise NotVerified(f"event {position}", "it is not what was signed; run audit verify")
    return replace(proof, extra=data)
