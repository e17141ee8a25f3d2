#!/bin/sh
# Installs what the suite with real machines needs, from this machine's own package sources.
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

[ -z "$wanted" ] && exit 0

if [ "$(id -u)" != 0 ]; then
    echo "the suite with real machines needs:$wanted; install them, and run it as root" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update >&2
# shellcheck disable=SC2086 # a list of package names
apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $wanted >&2
