"""How fast secrets are taken out of texts, for each kind of text and each platform.

    .venv/bin/python -m benchmarks.redaction [--kilobytes 300] [--runs 5]

Megabytes (of UTF-8) a second of processor time, medians: other work on the machine counts little.
Beside it, in the same run, what the canonical form of the same text takes: ratios of one run can be
compared, figures of different runs can't.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from adapters.demo import bases
from adapters.demo.export import wrapped
from benchmarks.diff import export
from domain.canonical import canonicalise
from domain.profiles import PROFILES
from domain.redaction import Redactor, redacted
from domain.routeros.strings import written

_SAMPLES = Path(__file__).resolve().parents[1] / "tests" / "samples"
# Lines of scripts as routers have them; some have a secret.
_SCRIPT = (
    ":local name [/system identity get name]",
    ':log info "checking the uplink of $name"',
    ":foreach lease in=[/ip dhcp-server lease find where dynamic] do={",
    "  :local mac [/ip dhcp-server lease get $lease mac-address]",
    '  :if ([:len $mac] > 0) do={ :set count ($count + 1); :put "$mac: $count" }',
    "}",
    ":if ([/ping 192.0.2.{n} count=3] = 0) do={ /interface disable ether{n}; :delay 10s }",
    '/tool fetch url="https://example.net/update?host=$name&ip=$ip" keep-result=no',
    ':local mailPassword "geheim-{n}"',
    '/tool e-mail send to=ada@example.net subject="backup of $name" body="done at $now"',
    "# the next lines are only for the second uplink",
    ':set result ($result . [:pick $line 0 [:find $line "="]])',
    '/tool fetch http-header-field="Authorization: Bearer geheim-{n}" url=$url output=user',
    ':do { /system backup save name=("daily-" . $now) dont-encrypt=yes } on-error={ :error no }',
)


def plain(size: int) -> str:
    """An export of rules, lists, leases and routes."""
    lines = export(size // 60, 7)
    return "\n".join([*lines, ""])[:size].rpartition("\n")[0] + "\n"


def demo(size: int) -> str:
    """Exports of a made-up fleet, one after another: many menus, with secrets and scripts."""
    texts = [
        bases.configuration(7, name="a", lan="10.1.1", wan=1, interfaces=bases.WIFI),
        bases.configuration(6, name="b", lan="10.1.2", wan=2, system=bases.SCRIPTS),
        bases.configuration(7, name="c", lan="10.1.3", wan=3, protocols=bases.ROUTING),
        bases.configuration(
            6, name="d", lan="10.1.4", wan=4, interfaces=bases.VPN_SERVER, protocols=bases.VPN_USERS
        ),
    ]
    lines = [piece for text in texts for line in text.split("\n") for piece in wrapped(line, 80)]
    return _repeated("\n".join(lines), size)


def scripts(size: int) -> str:
    """An export that is nearly all scripts."""
    choice = random.Random(7)
    lines = ["/system script"]
    length = 0
    while length < size:
        body = "\r\n".join(
            choice.choice(_SCRIPT).replace("{n}", str(choice.randrange(250))) for _ in range(40)
        )
        pieces = wrapped(f"add name=s{length} policy=read source={written(body)}", 80)
        lines += pieces
        length += sum(map(len, pieces)) + len(pieces)
    return "\n".join([*lines, ""])


def sample(name: str, size: int) -> str:
    """The sample of a platform, again and again, each with other secrets: they are in every fourth
    line or so, far more than in a real text."""
    text = (_SAMPLES / f"{name}.txt").read_text()
    return "\n".join(text.replace("CANARY", f"CANARY{n}") for n in range(max(1, size // len(text))))


def _repeated(text: str, size: int) -> str:
    return f"{text}\n" * max(1, size // len(text))


def megabytes_a_second(work: Callable[[], object], size: int, runs: int) -> float:
    """The median rate of the work."""
    rates = []
    for _ in range(runs):
        started = time.process_time()
        work()
        rates.append(size / 1e6 / (time.process_time() - started))
    return statistics.median(rates)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kilobytes", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    size = given.kilobytes * 1000
    redactor = Redactor(b"k" * 32, "r1")
    texts = [
        ("routeros", "plain", plain(size)),
        ("routeros", "fleet", demo(size)),
        ("routeros", "scripts", scripts(size)),
        *((name, "sample", sample(name, size)) for name in PROFILES),
    ]
    sys.stdout.write(
        f"Python {platform.python_version()}, {os.cpu_count()} processors, load "
        f"{os.getloadavg()[0]:.1f} at the beginning, {given.kilobytes} kB, medians of "
        f"{given.runs} runs\n"
        f"{'platform':>9} {'text':>8} {'secrets':>8} {'redacted MB/s':>14} {'canon MB/s':>11}\n"
    )
    for name, kind, text in texts:
        count = redacted(text, name, redactor).count("<secret")
        length = len(text.encode())
        rate, beside = (
            megabytes_a_second(work, length, given.runs)
            for work in (
                lambda name=name, text=text: redacted(text, name, redactor),
                lambda name=name, text=text: canonicalise(text, name),
            )
        )
        sys.stdout.write(f"{name:>9} {kind:>8} {count:>8,} {rate:>14.2f} {beside:>11.1f}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
