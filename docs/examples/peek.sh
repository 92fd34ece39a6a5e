#!/usr/bin/env bash
# Shows one stored event in the plain protocol: peek.sh HOST PORT USER PASSWORD POSITION
# It asks the stream for the message at a position (server ADR-31): HMSG holds headers and body.
# The same lines work through nc, where bash has no /dev/tcp. Status 0 only if the event was shown.
set -eu
: "${5:?is missing: peek.sh HOST PORT USER PASSWORD POSITION}"
request="{\"seq\":$5}"
exec 3<>"/dev/tcp/$1/$2"
connect='"verbose":false,"headers":true,"no_responders":true'
printf 'CONNECT {%s,"user":"%s","pass":"%s"}\r\nPING\r\n' "$connect" "$3" "$4" >&3
while IFS= read -r -t 5 line <&3; do
  line=${line%$'\r'}
  case $line in
    INFO*) ;;
    PING) printf 'PONG\r\n' >&3 ;;
    PONG) # we are let in
      printf 'SUB answer 1\r\nPUB $JS.API.DIRECT.GET.CONFIGTRAIL_EVENTS answer %d\r\n%s\r\n' \
        "${#request}" "$request" >&3
      ;;
    -ERR*) printf 'the server refuses: %s\n' "$line" >&2; exit 1 ;;
    "NATS/1.0 404"*) printf 'there is no event %s\n' "$5" >&2; exit 1 ;;
    "NATS/1.0 503"*) printf 'there is no stream CONFIGTRAIL_EVENTS\n' >&2; exit 1 ;;
    "NATS/1.0 "?*) printf 'the stream answers: %s\n' "$line" >&2; exit 1 ;;
    *) printf '%s\n' "$line" ;;
  esac
  case $line in "{"*) exit 0 ;; esac # the body is one line of JSON, and the end
done
echo 'no answer came' >&2
exit 1
