#!/usr/bin/env bash
# Checks for what the tests need besides Go, make and git, and installs it where it can: as root on a Debian-like
# machine.
set -euo pipefail

missing=()
command -v gcc > /dev/null || missing+=(gcc libc6-dev) # the race detector links C
command -v awk > /dev/null || missing+=(mawk)
command -v redis-server > /dev/null || missing+=(redis-server) # the fleet store is tested with it
command -v redis-sentinel > /dev/null || missing+=(redis-sentinel)
command -v strace > /dev/null || missing+=(strace) # makes system calls fail
command -v mkfs.ext4 > /dev/null || [ -x /sbin/mkfs.ext4 ] || missing+=(e2fsprogs) # power losses are tried on a file system in a file
command -v prometheus > /dev/null || missing+=(prometheus) # written to by the end-to-end tests
command -v valkey-server > /dev/null || missing+=(valkey-server) # and with its successor
command -v chromium > /dev/null || missing+=(chromium) # draws the console's page in its tests
command -v npm > /dev/null || missing+=(npm) # gets axe-core, which looks at that page

if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
  echo "The tests need these Debian packages, or what corresponds to them here: ${missing[*]}." >&2
  echo "Install them, or run this as root on a Debian-like machine." >&2
  exit 1
fi
echo "Installing ${missing[*]}"
# Debian 12 has valkey-server in its backports. They are asked for this once, beside the sources that there are.
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
cp /etc/apt/sources.list.d/* "$parts" 2> /dev/null || true
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "$codename" = bookworm ] && [ -f /etc/apt/sources.list.d/debian.sources ]; then
  sed "/^$/,\$d; s/^Suites:.*/Suites: bookworm-backports/" /etc/apt/sources.list.d/debian.sources > "$parts/backports.sources"
elif [ "$codename" = bookworm ]; then
  sed -n 's/^\(deb .*\) bookworm main.*/\1 bookworm-backports main/p' /etc/apt/sources.list > "$parts/backports.list"
fi
apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir::Etc::SourceParts="$parts" "$@"; }
apt update
# RUNLEVEL=1 keeps the packages from starting their services.
RUNLEVEL=1 apt install -y --no-install-recommends "${missing[@]}"
