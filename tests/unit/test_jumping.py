"""Logins at jump hosts: one is refused for all, what is not refused is held up for none, and few
are under way at once."""

from __future__ import annotations

import asyncio

import pytest

from adapters.ssh.failures import DeviceUnread, Kind, OutOfTime
from adapters.ssh.jumping import AT_ONCE, JumpHosts
from adapters.ssh.target import Credential, HostKey, Target, Trust

KEY, OTHER_KEY = (HostKey(algorithm="ssh-ed25519", blob=one) for one in ("AAAA", "BBBB"))
ACME, ANY = "acme", Trust()
OLD, NEW = (Credential(username="jumper", password=one) for one in ("old", "new"))


class Gate:
    """A jump host, and who logs in there. `answer` is how that fails."""

    def __init__(self, answer: Kind | None = None) -> None:
        self.now = 0.0
        self.answer = answer
        self.out_of_time = False
        self.logins: list[Credential] = []
        self.under_way = 0
        self.most_under_way = 0
        self._together: asyncio.Barrier | None = None
        self._alone = 0
        self._hosts = JumpHosts(lambda: self.now)

    async def jump(
        self,
        credential: Credential = OLD,
        *,
        insists: bool = False,
        tenant_id: str = ACME,
        trust: Trust = ANY,
        legacy: bool = False,
    ) -> None:
        host = Target(
            name="gate",
            addresses=("192.0.2.1",),
            credential=credential,
            trust=trust,
            legacy=legacy,
        )
        async with self._hosts.trying(host, tenant_id=tenant_id, insists=insists):
            self.logins.append(credential)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            if self._together is not None and len(self.logins) > self._alone:
                await asyncio.wait_for(self._together.wait(), 20)
            else:
                await asyncio.to_thread(bool)  # the others come meanwhile
            self.under_way -= 1
            if self.out_of_time:
                raise OutOfTime("no")
            if self.answer is not None:
                raise DeviceUnread(self.answer, "no")

    def expect(self, together: int, alone: int = 1) -> None:
        """So many log in at once next, behind some who do alone."""
        self._together, self._alone = asyncio.Barrier(together), len(self.logins) + alone

    async def all_jump(self, count: int, *, insists: bool = False) -> list[Kind | None]:
        told = await asyncio.gather(
            *(self.jump(insists=insists) for _ in range(count)), return_exceptions=True
        )
        assert all(one is None or isinstance(one, DeviceUnread) for one in told)
        return [one.kind if isinstance(one, DeviceUnread) else None for one in told]


async def test_of_many_one_is_refused_and_all_are_told() -> None:
    gate = Gate("auth_failed")
    assert await gate.all_jump(30) == ["auth_failed"] * 30
    assert len(gate.logins) == 1
    with pytest.raises(DeviceUnread, match="no; it is not asked by each device"):
        await gate.jump()


async def test_it_is_asked_again_a_little_before_its_devices_come_again() -> None:
    gate = Gate("auth_failed")
    for number, minutes in enumerate((1, 5, 15, 60, 60), 1):
        assert await gate.all_jump(3) == ["auth_failed"] * 3
        gate.now += minutes * 60 * 0.7
        assert await gate.all_jump(3) == ["auth_failed"] * 3
        assert len(gate.logins) == number
        gate.now += minutes * 60 * 0.3


async def test_one_that_accepts_is_jumped_over_by_all_at_once() -> None:
    gate = Gate("auth_failed")
    await gate.all_jump(3)
    gate.now, gate.answer = 60.0, None
    gate.expect(AT_ONCE)
    assert await gate.all_jump(1 + AT_ONCE) == [None] * (1 + AT_ONCE)
    gate.expect(3, alone=0)
    gate.answer = "auth_failed"
    await gate.all_jump(3)
    gate.now += 45
    assert await gate.all_jump(9) == ["auth_failed"] * 9
    assert len(gate.logins) == 5 + AT_ONCE


async def test_one_that_is_away_is_waited_for_once() -> None:
    gate = Gate("timeout")
    gate.expect(AT_ONCE)
    assert await gate.all_jump(1 + AT_ONCE) == ["timeout"] * (1 + AT_ONCE)


async def test_a_person_who_mended_it_is_not_told_what_it_was() -> None:
    gate = Gate("auth_failed")
    await gate.all_jump(3)
    with pytest.raises(DeviceUnread, match=r"no\Z"):
        await gate.jump(insists=True)
    gate.answer = None
    await gate.jump(insists=True)
    assert await gate.all_jump(3) == [None] * 3


async def test_another_credential_is_tried_at_once() -> None:
    gate = Gate("auth_failed")
    await gate.all_jump(3)
    with pytest.raises(DeviceUnread, match=r"no\Z"):
        await gate.jump(NEW)
    assert gate.logins == [OLD, NEW]


async def test_who_gives_up_leaves_the_turn_to_the_next() -> None:
    gate = Gate()
    first, second = (asyncio.create_task(gate.jump()) for _ in range(2))
    await asyncio.wait([second], timeout=0)
    first.cancel()
    await second
    assert first.cancelled()


async def test_a_few_log_in_at_once_and_the_others_take_turns() -> None:
    gate = Gate()
    assert await gate.all_jump(100) == [None] * 100
    assert len(gate.logins) == 100
    assert gate.most_under_way == AT_ONCE


async def test_who_waits_while_as_many_fail_in_a_row_need_not_try() -> None:
    gate = Gate()
    await gate.jump()
    gate.answer = "timeout"
    gate.expect(AT_ONCE, alone=0)
    assert await gate.all_jump(100) == ["timeout"] * 100
    assert len(gate.logins) == 1 + AT_ONCE
    gate.answer = None
    gate.expect(1, alone=0)
    await gate.jump()  # who comes later does try


async def test_one_login_that_goes_well_has_the_others_try() -> None:
    hosts = JumpHosts()
    host = Target(name="gate", addresses=("192.0.2.1",), credential=OLD)
    ends = asyncio.Queue[Kind | None]()
    tried = 0

    async def jump() -> None:
        nonlocal tried
        async with hosts.trying(host, tenant_id=ACME, insists=False):
            tried += 1
            kind = await ends.get()
            if kind is not None:
                raise DeviceUnread(kind, "no")

    jumps = [asyncio.create_task(jump()) for _ in range(40)]
    for number in range(40):
        ends.put_nowait("connection_lost" if number % AT_ONCE else None)
    told = await asyncio.gather(*jumps, return_exceptions=True)
    assert tried == 40
    assert told.count(None) == 40 // AT_ONCE


async def test_a_host_behind_another_of_the_same_address_is_another_one() -> None:
    outer = Target(name="outer", addresses=("192.0.2.1",), credential=OLD)
    inner = Target(name="inner", addresses=("192.0.2.1",), credential=OLD, via=outer)
    hosts = JumpHosts()
    async with (
        asyncio.timeout(20),
        hosts.trying(inner, tenant_id=ACME, insists=False),
        hosts.trying(outer, tenant_id=ACME, insists=False),
    ):
        pass


async def test_of_many_who_insist_at_once_one_is_refused() -> None:
    gate = Gate("auth_failed")
    for number in (1, 2, 3):
        assert await gate.all_jump(9, insists=True) == ["auth_failed"] * 9
        assert len(gate.logins) == number


async def test_one_that_was_refused_and_then_is_away_is_tried_by_one_at_a_time() -> None:
    gate = Gate("auth_failed")
    await gate.all_jump(3)
    gate.now, gate.answer = 60.0, "timeout"
    assert await gate.all_jump(3) == ["timeout"] * 3
    gate.answer = "auth_failed"
    tried = len(gate.logins)
    assert await gate.all_jump(9) == ["auth_failed"] * 9
    assert len(gate.logins) == tried + 1


async def test_another_tenants_host_and_one_of_another_key_are_other_ones() -> None:
    known = Trust(pinned=KEY)
    gate = Gate("auth_failed")
    with pytest.raises(DeviceUnread):
        await gate.jump(trust=known)
    gate.answer = None
    await gate.jump(trust=known, tenant_id="globex")
    await gate.jump(trust=Trust(pinned=OTHER_KEY))
    await gate.jump(trust=Trust(expected=OTHER_KEY.fingerprint))
    await gate.jump()
    await gate.jump(trust=known, legacy=True)
    assert len(gate.logins) == 6
    with pytest.raises(DeviceUnread, match="not asked by each"):
        await gate.jump(trust=known)


@pytest.mark.parametrize("before", [ANY, Trust(expected=KEY.fingerprint)])
async def test_a_host_whose_key_was_pinned_at_a_refused_login_is_the_same(before: Trust) -> None:
    gate = Gate("auth_failed")
    with pytest.raises(DeviceUnread):
        await gate.jump(trust=before)
    with pytest.raises(DeviceUnread, match="not asked by each"):
        await gate.jump(trust=Trust(pinned=KEY))
    assert len(gate.logins) == 1


async def test_devices_whose_own_time_is_over_tell_nothing_of_the_host() -> None:
    gate = Gate()
    await gate.jump()
    gate.out_of_time = True
    gate.expect(AT_ONCE, alone=0)
    assert await gate.all_jump(4 * AT_ONCE) == ["timeout"] * 4 * AT_ONCE
    assert len(gate.logins) == 1 + 4 * AT_ONCE
