#!/usr/bin/env bash
# Brings the servers that the tests start: installs them on Debian as root, after saying so, and elsewhere says what is
# missing. INSTALL_SERVERS=no installs nothing; a test whose server is missing is skipped.
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

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ] || [ "${INSTALL_SERVERS:-yes}" = no ]; then
    name_what_is_missing
    exit 0
fi

wanted=()
for package in "${packages[@]}"; do
    installed "$package" || wanted+=("$package")
done
[ ${#wanted[@]} -eq 0 ] && exit 0

echo "As root, this installs with apt-get what the tests start: ${wanted[*]}"
echo "None of it is started now. To refuse: INSTALL_SERVERS=no make test"
if [ -t 0 ]; then
    echo "It begins in 10 seconds; Return begins at once, and Ctrl-C ends it."
    read -r -t 10 _ || true
fi

# The tests start servers of their own. This file asks the packages not to start theirs (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${wanted[@]}" >/dev/null
