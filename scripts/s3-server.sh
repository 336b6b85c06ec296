#!/usr/bin/env bash
# An S3-compatible server for tests, from PyPI into a folder of its own. Prints the path of the program.
set -euo pipefail
place="${XDG_CACHE_HOME:-$HOME/.cache}/stopwatt-s3-server"
if [ ! -x "$place/bin/moto_server" ]; then
  rm -rf "$place"
  if ! python3 -m venv "$place" >&2; then
    # Debian ships venv apart from Python.
    SUDO=; [ "$(id -u)" = 0 ] || SUDO=sudo
    { $SUDO apt-get update -qq && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; } >&2
    rm -rf "$place"
    python3 -m venv "$place" >&2
  fi
  "$place/bin/pip" install --quiet --disable-pip-version-check 'moto[server]~=5.1' >&2
fi
echo "$place/bin/moto_server"
