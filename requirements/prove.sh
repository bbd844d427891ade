#!/usr/bin/env bash
# Prove that every lock installs, by old and new pips, both as the Makefile does it and with pip's own resolver.
#
# With --no-deps each lock is installed for real, and `pip check` behind it finds what it lacks. With the resolver a dry
# run is enough: it downloads everything, compares hashes and refuses what is not pinned, which is where old pips differ.
#
#   prove.sh [PYTHON]     a Python 3.11, for pip 22.3.1 knows no newer one
set -euo pipefail
cd "$(dirname "$0")"

python=${1:-python3.11}
# The pips that came with CPython 3.11.1 and 3.11.7.
pips=(pip==22.3.1 pip==23.2.1 pip)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for pip in "${pips[@]}"; do
    for lock in *.lock; do
        "$python" -m venv --clear "$work"
        quiet=(--quiet --disable-pip-version-check)
        "$work/bin/python" -m pip install "${quiet[@]}" --upgrade "$pip"
        hashed=(--only-binary :all: --require-hashes --requirement "$lock")
        "$work/bin/python" -m pip install "${quiet[@]}" --dry-run "${hashed[@]}"
        "$work/bin/python" -m pip install "${quiet[@]}" --no-deps "${hashed[@]}"
        "$work/bin/python" -m pip check --disable-pip-version-check >"$work/problems" || { cat "$work/problems"; exit 1; }
        echo "$lock installs by pip $("$work/bin/python" -c 'import pip; print(pip.__version__)')"
    done
done
