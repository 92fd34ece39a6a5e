"""The command line as people and scripts use it, beside a running demo."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.demo.fleet import SHOWN, fleet
from adapters.embedded.process import free_port
from tests.acceptance.program import CONFIGTRAIL
from tests.support import children_in, eventually

READY = "ready; Ctrl-C stops it"


class Shell:
    """A terminal in a folder of its own, with nothing of ours in the environment but the port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
            "CONFIGTRAIL_HTTP_PORT": str(self.port),
            "CONFIGTRAIL_TENANT": "demo",
        }

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            [CONFIGTRAIL, *words],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def ok(self, *words: str) -> str:
        """What a command prints that ends well."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout, "no colours into a pipe"
        return done.stdout

    def json(self, *words: str) -> Any:
        """The document that a command prints with --json."""
        return json.loads(self.ok(*words, "--json"))

    def on_a_terminal(self, *words: str) -> str:
        """What a command shows on a terminal."""
        leader, follower = pty.openpty()
        with subprocess.Popen(
            [CONFIGTRAIL, *words],
            cwd=self.folder,
            env={**self.environment, "TERM": "xterm-256color"},
            stdout=follower,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(follower)
            shown = b""
            while piece := _read(leader):
                shown += piece
            os.close(leader)
        assert process.returncode == 0
        return shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> Iterator[Shell]:
    """Beside a demo that has shown everything and serves."""
    folder = tmp_path_factory.mktemp("cli")
    assert base_folder in folder.parents
    folder.chmod(0o711)
    opened = Shell(folder)
    with (
        (folder / "demo.log").open("w") as log,
        subprocess.Popen(
            [CONFIGTRAIL, "demo"],
            cwd=folder,
            env=opened.environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as demo,
    ):
        try:
            assert demo.stdout is not None
            lines = []
            for line in demo.stdout:
                lines.append(line)
                if READY in line:
                    break
            assert lines[-1:], (folder / "demo.log").read_text()
            (folder / "shown.txt").write_text("".join(lines))
            yield opened
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
    assert demo.returncode == 0, (folder / "demo.log").read_text()
    assert not children_in(folder / ".configtrail"), "no server is left behind"


def test_the_demo_shows_everything_before_it_serves(shell: Shell) -> None:
    shown = (shell.folder / "shown.txt").read_text()
    for one in fleet().expected:
        assert one.device_id in shown
    for title in ("held when", "timeline", "changed last", "audit trail", "could not be recorded"):
        assert title in shown
    assert '-add action=accept chain=input comment="management: ssh and winbox"' in shown
    assert "All of it is as it must be." in shown
    assert f"http://127.0.0.1:{shell.port}" in shown
    log = (shell.folder / "demo.log").read_text()
    assert "sha256_hash" in log, "the broken message is told of"


def test_a_second_program_on_the_same_folder_is_refused_plainly(shell: Shell) -> None:
    done = shell.run("up")
    assert done.returncode == 1
    assert re.search(r"configtrail: .*in use", done.stderr), done.stderr


def test_devices(shell: Shell) -> None:
    table = shell.ok("devices")
    known = shell.json("devices")
    assert [one["device_id"] for one in known] == sorted(
        expected.device_id for expected in fleet().expected
    )
    for one in known:
        assert one["device_id"] in table
        assert one["snapshots"] == fleet().of(one["device_id"]).snapshots
    assert [one["device_id"] for one in shell.json("devices", "--search", "berlin")] == [SHOWN]
    assert shell.json("devices", "--not-seen-since", "2026-03-01") == []
    assert shell.run("devices", "--tenant", "nobody").stdout == ""


def test_fleet_shows_who_waits_longest_first(shell: Shell) -> None:
    found = shell.json("fleet")
    seen = {one["device_id"]: one["last_seen"] for one in shell.json("devices")}
    assert {one["device_id"]: one["last_backup"] for one in found} == seen
    assert [one["last_backup"] for one in found] == sorted(one["last_backup"] for one in found)
    assert all(one["age_seconds"] > 0 for one in found)
    shown = shell.ok("fleet")
    places = [shown.index(one["device_id"]) for one in found]
    assert places == sorted(places)
    few = shell.run("fleet", "--limit", "2", "--json")
    assert [one["device_id"] for one in json.loads(few.stdout)] == [
        one["device_id"] for one in found[:2]
    ]
    assert "there are more than 2" in few.stderr
    assert shell.json("fleet", "--tenant", "nobody") == []


def test_history_newest_first(shell: Shell) -> None:
    entries = shell.json("history", SHOWN)
    times = [one["created_at"] for one in entries]
    assert times == sorted(times, reverse=True)
    assert len(entries) == fleet().of(SHOWN).snapshots
    assert entries[-1]["summary"] == "First configuration"
    assert "firewall filter: rule" in shell.ok("history", SHOWN)
    assert len(shell.json("history", SHOWN, "--limit", "1")) == 1
    assert len(shell.json("history", SHOWN, "--section", "/ip dns")) == 1


REVEAL = ("--reveal", "--reason", "moved to another provider")


def test_show_gives_the_text_as_it_was(shell: Shell) -> None:
    expected = fleet().of(SHOWN)
    done = subprocess.run(
        [CONFIGTRAIL, "show", SHOWN, *REVEAL],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == expected.current.text.encode(), "byte for byte, line endings included"
    first = shell.json("show", SHOWN, "--at", "2026-03-01", *REVEAL)
    assert first["config_text"] == expected.began[0].text
    by_id = shell.json("show", SHOWN, "--snapshot", first["id"][:8])
    assert by_id["id"] == first["id"]


def test_on_a_terminal_there_are_colours_and_no_control_characters(shell: Shell) -> None:
    assert "\x1b[" in shell.on_a_terminal("diff", SHOWN)
    shown = shell.on_a_terminal("show", SHOWN)
    assert "\x1b" not in shown
    assert "by RouterOS" in shown


def test_diff_last_and_between_any_two(shell: Shell) -> None:
    last = shell.json("diff", SHOWN)
    assert last["recorded"]
    assert (last["lines_added"], last["lines_removed"]) == (4, 4)
    text = shell.ok("diff", SHOWN)
    assert "+add action=accept chain=input" in text
    ids = [one["snapshot_id"] for one in shell.json("history", SHOWN)]
    between = shell.json("diff", SHOWN, ids[-1], ids[0])
    assert not between["recorded"]
    assert between["old_snapshot_id"] == ids[-1]
    days = shell.json("diff", SHOWN, "2026-03-01", "2026-03-05")
    assert (days["old_snapshot_id"], days["new_snapshot_id"]) == (ids[-1], ids[0])


def test_audit_with_filters(shell: Shell) -> None:
    entries = shell.json("audit", "--limit", "1000")
    assert {one["action"] for one in entries} >= {
        "config_snapshot_created",
        "config_snapshot_skipped_duplicate",
        "config_diff_generated",
    }
    created = shell.json("audit", "--action", "config_snapshot_created", "--device", SHOWN)
    assert len(created) == fleet().of(SHOWN).snapshots
    assert all(one["actor"] == "system:recorder" for one in created)
    assert "config_snapshot_created" in shell.ok("audit")
    day = shell.json("audit", "--since", "2026-03-03", "--until", "2026-03-03")
    assert day
    assert all(one["created_at"].startswith("2026-03-03") for one in day)


def test_dead_letters_are_listed_shown_and_sent_again(shell: Shell) -> None:
    (letter,) = shell.json("deadletters")
    assert letter["field"] == "sha256_hash"
    assert letter["device_id"] == fleet().broken.device_id
    assert "sha256_hash" in shell.ok("deadletters")
    shown = subprocess.run(
        [CONFIGTRAIL, "deadletters", "show", str(letter["sequence"])],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        check=True,
    )
    assert shown.stdout == fleet().broken.body
    missing = shell.run("deadletters", "show", "999999")
    assert missing.returncode == 1
    assert "999999" in missing.stderr


def test_a_trigger_that_nobody_answers_is_told_and_recorded(shell: Shell) -> None:
    done = shell.run("trigger", SHOWN, "--reason", "a test")
    assert done.returncode == 1
    assert "no collector answers on config.backup.trigger" in done.stderr
    ended, asked = shell.json("audit", "--device", SHOWN, "--limit", "2")
    assert asked["action"] == "config_backup_manual_trigger"
    assert asked["details"]["reason"] == "a test"
    assert asked["actor"].startswith("user:")
    assert ended["action"] == "config_backup_manual_finished"
    assert ended["details"]["outcome"] == "failed"
    assert ended["correlation_id"] == asked["correlation_id"]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["history", "nobody-knows"], 1, "no device 'nobody-knows'"),
        (["show", SHOWN, "--at", "2020-01-01"], 1, "no configuration at"),
        (["show", SHOWN, "--at", "yesterday"], 2, "must be a date"),
        (["show", SHOWN, "--at", "2026-03-01", "--snapshot", "abcd"], 2, "exclude each other"),
        (["show", SHOWN, "--snapshot", "00000000"], 1, "no snapshot"),
        (["diff", SHOWN, "zzz"], 2, "must be a snapshot's id"),
        (["devices", "--tenant", "a/b"], 2, "tenant: must be"),
        (["history", " x"], 2, "without spaces"),
        (["deadletters", "retry", "999999"], 1, "999999"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_words_are_answered_in_a_line(
    shell: Shell, words: Sequence[str], status: int, told: str
) -> None:
    done = shell.run(*words)
    assert done.returncode == status, done.stderr
    assert told in done.stderr.replace("\n", " ").replace("│ ", "")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_reader_that_has_enough_ends_the_command_quietly(shell: Shell) -> None:
    with subprocess.Popen(
        [CONFIGTRAIL, "audit", "--json"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE
    assert told == b""


def test_the_api_answers_what_the_demo_promises(shell: Shell) -> None:
    base = f"http://127.0.0.1:{shell.port}"
    key_file = shell.folder / ".configtrail" / "api.key"
    assert key_file.stat().st_mode & 0o077 == 0
    headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
    for path in (
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/openapi.json",
        f"/api/tenants/demo/devices/{SHOWN}/config-history",
        "/api/tenants/demo/audit-logs?per_page=5",
    ):
        asked = urllib.request.Request(base + path, headers=headers)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.status == 200, path
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(base + "/api/tenants/demo/devices", timeout=20)


def test_keys_are_made_listed_and_revoked(shell: Shell) -> None:
    def status(key: str) -> int:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{shell.port}/api/tenants/demo/fleet",
            headers={"Authorization": f"Bearer {key}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    made = shell.run("keys", "create", "ci", "--role", "viewer", "--expires", "1d")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key not in made.stderr
    assert status(key) == 200
    [listed] = json.loads(shell.run("keys", "--json").stdout)
    assert (listed["name"], listed["role"], listed["tenant"]) == ("ci", "viewer", "demo")
    for another in ((), ("--all-tenants",)):
        taken = shell.run("keys", "create", "ci", *another)
        assert taken.returncode == 1
        assert listed["key_id"] in taken.stderr
        assert "choose another name" in " ".join(taken.stderr.split())
    assert key.split("_", 2)[2] not in shell.run("keys", "list").stdout
    revoked = shell.run("keys", "revoke", listed["key_id"], "--reason", "done")
    assert revoked.returncode == 0, revoked.stderr
    # A program may take one that it knew a moment longer.
    asyncio.run(eventually(lambda: status(key) == 401))
    assert shell.run("keys", "revoke", listed["key_id"]).returncode == 1
    assert shell.run("keys", "create", "a b").returncode == 1


def test_servers_that_are_named_and_not_there_are_reported(shell: Shell, tmp_path: Path) -> None:
    done = shell.run(
        "devices",
        CONFIGTRAIL_CONNECT_SECONDS="1",
        CONFIGTRAIL_NATS_URL=f"nats://x:secretsecret@127.0.0.1:{free_port()}",
        CONFIGTRAIL_POSTGRES_DSN=f"postgresql://x:secretsecret@127.0.0.1:{free_port()}/x",
    )
    assert done.returncode == 3
    assert "no connection within 1 s" in done.stderr
    assert "waiting for NATS" in done.stderr
    assert "secretsecret" not in done.stderr


def test_a_mistyped_setting_is_told_without_its_value(shell: Shell) -> None:
    done = shell.run("audit", "verifier", CONFIGTRAIL_MASTER_KYE="secretsecret")
    assert done.returncode == 0
    assert "CONFIGTRAIL_MASTER_KYE is no setting" in done.stderr
    assert "did you mean CONFIGTRAIL_MASTER_KEY?" in done.stderr
    assert "secretsecret" not in done.stderr + done.stdout


def test_one_server_alone_is_not_enough(shell: Shell) -> None:
    done = shell.run("devices", CONFIGTRAIL_NATS_URL="nats://127.0.0.1:4222")
    assert done.returncode == 1
    assert "must both be set, or neither" in done.stderr


def test_changes_in_words_and_redacted(shell: Shell) -> None:
    assert shell.ok("diff", SHOWN, "--semantic").splitlines() == [
        "firewall filter: rule 'management: ssh only': comment changed from 'management: ssh and "
        "winbox' to 'management: ssh only'; dst-port: 8291 removed  "
        "[input-chain, management-access]",
        "firewall filter: rule 'everything else from outside': log set to yes; log-prefix set to "
        "input  [input-chain]",
    ]
    told = shell.json("diff", SHOWN)["changes"]
    assert [one["kind"] for one in told] == ["modified", "modified"]
    assert "rule 'management: ssh only'" in shell.ok("history", SHOWN)
    secret = "demo-password-"
    shown = shell.ok("show", "vpn-cologne")
    assert secret not in shown
    assert re.search(r" password=<secret:[0-9a-f]{8}> ", shown)
    assert secret not in shell.ok("diff", "vpn-cologne")


def test_secrets_are_shown_to_who_says_why_and_that_is_recorded_first(shell: Shell) -> None:
    secret = "demo-password-"
    action = ("audit", "--action", "config_content_revealed")
    before = len(shell.json(*action))
    for wrong in (["--reveal"], ["--reveal", "--reason", " "], ["--reason", "why"]):
        done = shell.run("show", "vpn-cologne", *wrong)
        assert (done.returncode, done.stdout) == (2, "")
    refused = shell.run("diff", "vpn-cologne", "--reveal", "--reason", "two\nlines")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(shell.json(*action)) == before
    assert secret in shell.ok("show", "vpn-cologne", *REVEAL)
    assert not shell.json("diff", "vpn-cologne", *REVEAL)["redacted"]
    difference, text = shell.json(*action)[:2]
    for one, kind in ((difference, "diff"), (text, "snapshot")):
        assert (one["resource_type"], one["details"]["reason"]) == (kind, REVEAL[-1])
        assert one["actor"].startswith("user:")


def test_recanonicalise_finds_nothing_to_do_in_a_new_history(shell: Shell) -> None:
    done = shell.json("recanonicalise")
    assert {one["device_id"] for one in done} == {one.device_id for one in fleet().expected}
    assert all(one["renewed"] == 0 and one["already"] == one["snapshots"] for one in done)
    assert shell.run("recanonicalise", "nobody").returncode == 1
