#!/bin/sh
# Prints the path of a program that answers as Kubernetes' own structured-merge-diff, and builds it first if need be,
# from Debian's package of that library (tests/tools/prepare.sh installs it and Go). Cached under target/tools.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
tools="${CARGO_TARGET_DIR:-$root/target}/tools"
source="$root/crates/apiserver/tests/oracle/main.go"
oracle="$tools/merge-oracle"
if [ ! -x "$oracle" ] || [ "$source" -nt "$oracle" ]; then
    mkdir -p "$tools"
    work=$(mktemp -d "$tools/oracle.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/cache" GOFLAGS= go build -o "$work/oracle" "$source" >&2
    mv "$work/oracle" "$oracle"
fi
echo "$oracle"
