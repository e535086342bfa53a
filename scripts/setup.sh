#!/usr/bin/env bash
# Checks for what the tests need besides Go, make and git, and installs it where it can: as root on a Debian-like machine.
set -euo pipefail

missing=()
command -v gcc > /dev/null || missing+=(gcc libc6-dev) # the race detector links C
command -v awk > /dev/null || missing+=(mawk)
command -v redis-server > /dev/null || missing+=(redis-server) # the fleet store is tested with it
command -v redis-sentinel > /dev/null || missing+=(redis-sentinel)
command -v prometheus > /dev/null || missing+=(prometheus) # written to by the end-to-end tests
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
apt-get update -qq
# RUNLEVEL=1 keeps the packages from starting their services.
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
