#!/bin/sh
# Make a virtual environment with the first Python that fits, or say what is missing.
set -eu
venv=$1
fits='import sys; sys.exit(sys.version_info < (3, 11))'

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "import pip; $fits" 2>/dev/null; then
  exit 0
fi

# A name on the path may be a shim that has no Python behind it, so each is tried.
python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c "$fits" >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "Configtrail needs Python 3.11 or newer, and none was found as python3 or python3.11 to" >&2
  echo "python3.14. Install one, or name it: make PYTHON=/path/to/python3.12" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "$python can't make virtual environments: its parts venv and ensurepip are not there." >&2
  echo "On Debian and Ubuntu: apt install python$version-venv. Or name another Python:" >&2
  echo "make PYTHON=/path/to/python3.12" >&2
  exit 1
fi
exec "$python" -m venv --clear "$venv"
