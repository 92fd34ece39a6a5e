"""Write fresh secrets for compose.yaml into a file that only its owner may read."""

from __future__ import annotations

import base64
import os
import secrets
import sys


def environment() -> str:
    """The environment file's text, with new secrets at each call.

    Those that nats-server reads begin with a letter: it would take 12e4 for a number.
    """
    values = {
        "CONFIGTRAIL_NATS_PASSWORD": "n" + secrets.token_hex(16),
        "CONFIGTRAIL_NATS_ADMIN_PASSWORD": "n" + secrets.token_hex(16),
        "CONFIGTRAIL_JETSTREAM_KEY": "k" + secrets.token_hex(32),
        "CONFIGTRAIL_POSTGRES_PASSWORD": secrets.token_hex(16),
        "POSTGRES_PASSWORD": secrets.token_hex(16),
        "CONFIGTRAIL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def main(path: str) -> None:
    """Make the file; one that exists is never replaced, since its keys open the data."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(environment())


if __name__ == "__main__":
    main(sys.argv[1])
