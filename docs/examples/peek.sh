#!/usr/bin/env bash
# Shows one stored event in the plain protocol: peek.sh HOST PORT USER PASSWORD POSITION
# It asks the stream for the message at a position (server ADR-31): HMSG holds headers and body.
# The same lines work through nc, where bash has no /dev/tcp.
set -eu
request="{\"seq\":$5}"
exec 3<>"/dev/tcp/$1/$2"
{
  printf 'CONNECT {"verbose":false,"headers":true,"user":"%s","pass":"%s"}\r\n' "$3" "$4"
  printf 'SUB answer 1\r\n'
  printf 'PUB $JS.API.DIRECT.GET.CONFIGTRAIL_EVENTS answer %d\r\n%s\r\n' "${#request}" "$request"
} >&3
while IFS= read -r -t 5 line <&3; do
  line=${line%$'\r'}
  case $line in
    INFO*) ;;
    PING) printf 'PONG\r\n' >&3 ;;
    *) printf '%s\n' "$line" ;;
  esac
  case $line in "{"*) break ;; esac # the body is one line of JSON, and the end
done
