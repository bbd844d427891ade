#!/usr/bin/env bash
# Prove that the protocol breaks nobody who uses the last release: `buf breaking` against the last tag whose name is a version.
# Run in the root of a work tree; BUF names buf.
set -euo pipefail

buf=${BUF:-buf}
if ! tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
    echo "buf breaking: there is no release yet that the protocol could break with"
    exit
fi
"$buf" breaking protos --against ".git#tag=$tag,subdir=protos"
echo "buf breaking: the protocol breaks nothing of $tag"
