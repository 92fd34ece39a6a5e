"""The command line: `configtrail`."""

from __future__ import annotations

import signal


def main() -> None:
    """Entry point of the program `configtrail`."""
    # Held back until the loop can handle them (`adapters.cli.program`): a signal that comes while
    # the program is still being imported must end it as cleanly as a later one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    from adapters.cli.app import app

    app()
