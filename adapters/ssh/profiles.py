"""How other platforms than RouterOS are read: by one command, or in a dialogue with a prompt.

Nothing is ever changed on a device but the session's own terminal. Each profile says how the end
of a complete configuration looks. Where a shell runs the command, a random word is printed after
it; where that is not to be had, the configuration's own last line must be there.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal

from msgspec import Struct

from adapters.ssh.connecting import Session
from adapters.ssh.dialogue import Dialogue
from adapters.ssh.executing import decoded, execute
from adapters.ssh.failures import DeviceUnread, NoCommandTaken
from adapters.ssh.routeros import Text
from adapters.ssh.target import Limits
from domain.errors import NotFound

ROUTEROS: Final = "routeros"

_REFUSED = re.compile(
    rb"% ?(?:Invalid input|Unknown command|Ambiguous|Incomplete command|Authorization failed"
    rb"|Permission denied)|unknown command|syntax error|command not found|not found\s*\Z"
    rb"|permission denied|Command fail",
    re.IGNORECASE,
)
_FIRST_BYTES: Final = 400


class Profile(Struct, frozen=True, kw_only=True):
    """A platform. `end` must match the last lines of what came; `proof`: a random word comes
    after it. `setup` are commands of a dialogue that make it talk without pauses. `kind` is what
    the text is, where that is not the name. `enables`: it has a privileged mode. `at_prompt`:
    where it takes no command without a prompt, it is asked in a dialogue, after `setup`. `trailer`
    is what its prompt has above it. `tells_status`: a command without a prompt ends with a status,
    and one without has not ended."""

    name: str
    command: str
    mode: Literal["exec", "dialogue"] = "exec"
    setup: tuple[str, ...] = ()
    end: str | None = None
    proof: bool = False
    kind: str | None = None
    enables: bool = False
    at_prompt: bool = False
    trailer: str | None = None
    tells_status: bool = False

    @property
    def text_kind(self) -> str:
        """What the text is, for the intake."""
        return self.kind or self.name

    async def read(
        self, session: Session, limits: Limits, until: float, *, enable: str | None = None
    ) -> Text:
        """The configuration. Raises `DeviceUnread`. With `enable`, the password of the privileged
        mode, a platform that has one is brought there first, in a dialogue."""
        word = f"configtrail-{secrets.token_hex(8)}" if self.proof else None
        if self.mode == "dialogue" or (self.enables and enable is not None):
            raw, status = await self._talk(session, limits, until, word, enable), None
        else:
            try:
                raw, status = await execute(
                    session.connection, self._asked(word), limits, until=until
                )
            except NoCommandTaken:
                if not self.at_prompt:
                    raise
                raw, status = await self._talk(session, limits, until, word, None), None
            else:
                if status is None and self.tells_status:
                    raise DeviceUnread("incomplete", f"it broke off after {len(raw)} bytes")
        return Text(decoded(self._proven(raw, status, word)), None)

    def _asked(self, word: str | None) -> str:
        return f"{self.command}; echo {word}" if word else self.command

    async def _talk(
        self, session: Session, limits: Limits, until: float, word: str | None, enable: str | None
    ) -> bytes:
        async with Dialogue.opened(session.connection, limits, until) as dialogue:
            if self.enables and enable is not None:
                await dialogue.enable(enable)
            for command in self.setup:
                await dialogue.ask(command)
            raw = await dialogue.ask(self._asked(word))
        return raw if self.trailer is None else re.sub(self.trailer.encode(), b"", raw)

    def _proven(self, raw: bytes, status: int | None, word: str | None) -> bytes:
        body = raw.rstrip()
        if len(body) <= _FIRST_BYTES and _REFUSED.search(body):
            raise DeviceUnread("command_refused", f"it does not take {self.command!r}")
        complete = bool(body) and status in (None, 0)
        if word is not None:
            complete = complete and body.endswith(word.encode())
            body = body[: -len(word)]
        if self.end is not None:
            complete = complete and re.search(self.end.encode(), body) is not None
        if not complete or not body.strip():
            told = "" if status in (None, 0) else f", and ended with status {status}"
            raise DeviceUnread(
                "incomplete", f"the configuration broke off after {len(raw)} bytes{told}"
            )
        return body.rstrip() + b"\n"


_IOS_END: Final = r"(?:\A|\n)end\Z"
PROFILES: Final = {
    one.name: one
    for one in (
        Profile(
            name="ios",
            mode="dialogue",
            enables=True,
            setup=("terminal length 0", "terminal width 0"),
            command="show running-config",
            end=_IOS_END,
        ),
        Profile(
            name="eos",
            enables=True,
            setup=("terminal length 0", "terminal width 32767"),
            command="show running-config | no-more",
            end=_IOS_END,
        ),
        Profile(
            name="junos",
            setup=("set cli screen-length 0", "set cli screen-width 0"),
            command="show configuration | display omit | no-more",
            end=r"[};]\Z",
            at_prompt=True,
            # Most of its lines end as its last one does.
            tells_status=True,
            # Which of several it is: {master:0}, {primary:node1}.
            trailer=r"\n\{[a-z]+(?::[a-z]*\d+)?\}\s*\Z",
        ),
        Profile(
            name="vyos",
            setup=("set terminal length 0",),
            at_prompt=True,
            command="/opt/vyatta/bin/vyatta-op-cmd-wrapper show configuration commands",
            proof=True,
        ),
        Profile(name="openwrt", command="uci export", proof=True, at_prompt=True),
        Profile(
            name="fortios",
            mode="dialogue",
            command="show full-configuration",
            end=_IOS_END,
        ),
        Profile(name="frr", command="vtysh -c 'show running-config'", end=_IOS_END),
        Profile(
            name="vtysh",
            kind="frr",
            mode="dialogue",
            setup=("terminal length 0",),
            command="show running-config",
            end=_IOS_END,
        ),
    )
}
PLATFORMS: Final = (ROUTEROS, *PROFILES)


def profile_of(platform: str) -> Profile:
    """The profile of a platform other than RouterOS. Raises `NotFound`."""
    profile = PROFILES.get(platform)
    if profile is None:
        raise NotFound("platform", platform)
    return profile
