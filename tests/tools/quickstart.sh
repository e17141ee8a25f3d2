#!/usr/bin/env bash
# The README's first command as a user runs it, and the promises that go with it, measured:
#   - examples/quickstart with 20 fake machines converges within a minute; kubectl shows it
#   - from closing an edited file to the first activity's creation: p95 of 20 edits at most 2 s
#   - stopping and starting again goes on
#   - 1,000 machines and a two-package baseline at maxUnavailable 10%: 120 s, at most 500 MiB
#   - the converged fleet writes nothing to any of our objects in 60 s
# Prints a table; fails if a promise is broken. Times are goals: printed, not asserted, since the machine may be busy. Needs target/debug/muster (or MUSTER_BIN) and python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kubectl=${KUBECTL:-$(bash "$root/tests/tools/kubectl.sh")}
export KUBECTL=$kubectl MUSTER_BIN=${MUSTER_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/muster}
exec python3 "$root/tests/tools/quickstart.py" "$root" "$@"
