#!/bin/sh
# What the tests run for real and PyPI does not carry. Does nothing when all is there; else installs it where that
# is possible without asking for a password, or says the command that would.
set -eu

#       command                  Debian package
needed='
        cc                       build-essential
        g++                      build-essential
        make                     build-essential
        prometheus               prometheus
        promtool                 prometheus
        amtool                   prometheus-alertmanager
        prometheus-alertmanager  prometheus-alertmanager
        victoria-metrics         victoria-metrics
'

missing=
packages=
while read -r name package; do
    [ -n "$name" ] || continue
    command -v "$name" >/dev/null 2>&1 && continue
    missing="$missing $name"
    case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done <<EOF
$needed
EOF
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need$missing. Install them (on Debian: apt-get install$packages) and try again." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    echo "The tests need$missing. Run this and try again: sudo apt-get install$packages" >&2
    exit 1
fi

echo "Installing$packages for the tests ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# SYSTEMD_OFFLINE: the tests start their own servers; the packages shall not start any as a service.
# shellcheck disable=SC2086  # the lists are meant to be split
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 \
        apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
# shellcheck disable=SC2086
if ! { apt update && apt install --yes --no-install-recommends $packages; }; then
    tail -n 15 "$log" >&2
    echo "apt-get install$packages failed; the tests need$missing." >&2
    exit 1
fi
