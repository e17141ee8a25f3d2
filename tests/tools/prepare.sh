#!/bin/sh
# Installs what the suite with real machines needs, and the comparison with Kubernetes' library for merging, from this
# machine's own package sources.
# Idempotent: with everything there it only looks, and takes milliseconds.
set -eu

wanted=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || wanted="$wanted $2"
}
PATH="$PATH:/usr/sbin:/sbin"
need debootstrap debootstrap
need systemd-nspawn systemd-container
need ip iproute2
need nsenter util-linux
need setpriv util-linux
need mount mount
need dpkg-deb dpkg
need git git
need go golang-go
[ -d /usr/share/gocode/src/sigs.k8s.io/structured-merge-diff ] ||
    wanted="$wanted golang-k8s-sigs-structured-merge-diff-dev"

[ -z "$wanted" ] && exit 0

if [ "$(id -u)" != 0 ]; then
    echo "the suites with real machines and with Go need:$wanted; install them, and run it as root" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update >&2
# shellcheck disable=SC2086 # a list of package names
apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $wanted >&2
