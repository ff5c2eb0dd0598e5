#!/usr/bin/env bash
# Brings the servers that the tests start: installs them on Debian as root, and elsewhere says what is missing.
set -euo pipefail

packages=(redis-server postgresql pgbouncer mariadb-server rabbitmq-server chromium libmariadb-dev pkg-config gcc libc6-dev)
# Debian splits its own Python into parts; an interpreter from elsewhere is whole.
case "$(readlink -f "$(command -v python3 || true)")" in
    /usr/bin/*) packages+=(python3-venv python3-dev) ;;
esac

installed() {
    dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

name_what_is_missing() {
    local program missing=()
    for program in redis-server mariadbd postgres pgbouncer rabbitmq-server chromium; do
        PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')" command -v "$program" >/dev/null ||
            missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "Not found: ${missing[*]}. The tests that need them will be skipped, each with its reason."
    echo "On Debian and Ubuntu they come with: sudo apt-get install ${packages[*]}"
}

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    name_what_is_missing
    exit 0
fi

wanted=()
for package in "${packages[@]}"; do
    installed "$package" || wanted+=("$package")
done
[ ${#wanted[@]} -eq 0 ] && exit 0

# The tests start servers of their own. This file asks the packages not to start theirs (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

echo "Installing ${wanted[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${wanted[@]}" >/dev/null
