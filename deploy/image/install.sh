#!/bin/sh
# Installs the gateway into a virtual environment of its own, from locked wheels alone. The Dockerfile runs it, and so
# does `make deploy-check`, to see it run.
#
#   install.sh SOURCE TARGET
set -eu
# Another user than the one who installs it runs it.
umask 022

source=$1
target=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

locked() {
    "$1" -m pip --python "$2" install --quiet --disable-pip-version-check --no-cache-dir \
        --only-binary :all: --no-deps --require-hashes --requirement "$3"
}

# What builds the wheel stays behind, and the target needs no pip.
python3 -m venv "$work/build"
build=$work/build/bin/python
locked "$build" "$build" "$source/requirements/build.lock"
"$build" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-cache-dir \
    --wheel-dir "$work/wheel" "$source/clients/python" "$source"

python3 -m venv --without-pip "$target"
locked "$build" "$target/bin/python" "$source/requirements/runtime.lock"
"$build" -m pip --python "$target/bin/python" install --quiet --disable-pip-version-check --no-deps --no-index \
    "$work"/wheel/*.whl
# A lock names everything, so nothing is resolved; this finds what it lacks.
"$build" -m pip --python "$target/bin/python" check >"$work/problems" || { cat "$work/problems"; exit 1; }

# Nothing can be written where it runs, and each start would compile anew. Dates of files are of no account in an image.
# whenever brings a module in the syntax of Python 3.12, which it does without where that is no Python.
newer=$("$build" -c 'import sys; print("^$" if sys.version_info >= (3, 12) else "/whenever/_typing_312[.]py$")')
"$build" -m compileall -q -f -x "$newer" --invalidation-mode unchecked-hash "$target/lib"
