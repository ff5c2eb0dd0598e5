#!/usr/bin/env bash
# Brings a MySQL for the tests to a Debian that has MariaDB instead. Debian's unstable suite has MySQL, with libraries that
# are newer than those of a release: the packages are unpacked into a folder of their own, beside the system, and the
# program "mysqld-for-tests" starts that server with them. Nothing of the system is replaced.
#
# MySQL is not in a release of Debian, and may be missing from unstable for a while: then its tests are skipped.
set -euo pipefail

home=/usr/local/lib/mysql-for-tests
program=/usr/local/bin/mysqld-for-tests
[ -x "$program" ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ] || [ "${INSTALL_SERVERS:-yes}" = no ]; then
    echo "Not found: mysqld-for-tests. The tests that need MySQL will be skipped. On Debian, as root: $0"
    exit 0
fi
echo "As root, this unpacks MySQL from Debian's unstable suite into $home. To refuse: INSTALL_SERVERS=no make test"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial
touch "$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian unstable main" \
    >"$work/sources.list"
apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache")
"${apt[@]}" update
"${apt[@]}" --yes --no-install-recommends --download-only install mysql-server-core >/dev/null

rm -rf "$home"
mkdir -p "$home"
for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$home"
done
libraries=$(echo "$home"/usr/lib/*-linux-gnu)
loader=$(echo "$libraries"/ld-linux-*.so.*)
cat >"$program" <<END
#!/bin/sh
exec $loader --library-path $libraries:$home/usr/lib/mysql/private $home/usr/sbin/mysqld --no-defaults \\
    --basedir=$home/usr --lc-messages-dir=$home/usr/share/mysql --plugin-dir=$home/usr/lib/mysql/plugin "\$@"
END
chmod +x "$program"
"$program" --version
