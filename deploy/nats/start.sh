#!/bin/sh
# Starts nats-server, after removing what it would fall over. Killed while it begins a block of an
# encrypted stream, nats-server (2.15.1) leaves an empty file without the key that belongs beside it;
# at the next start it takes the stream for corrupt and deletes it whole. The file holds nothing.
set -eu
store="${STORE:-/data}"
if [ -d "$store/jetstream" ]; then
  find "$store/jetstream" -path '*/msgs/*.blk' -size 0 | while IFS= read -r block; do
    if [ ! -e "${block%.blk}.key" ]; then
      echo "removing $block: empty, and without its key" >&2
      rm -- "$block"
    fi
  done
fi
exec nats-server "$@"
