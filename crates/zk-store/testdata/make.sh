#!/usr/bin/env bash
# Makes the files in apache-3.8.0/ and apache-3.9.4/ again: small directories that real Apache
# servers wrote, with every kind of transaction, every snapshot compression, live sessions, and
# (3.8.0) the bare check that ZOOKEEPER-2623 lets into the log. Needs test/foreign/setup.sh.
#
#   make.sh [VERSION...]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
apache=$here/../../../test/foreign/apache.sh
python=${ZKFLEET_FOREIGN:-$HOME/.cache/zkfleet-foreign}/py/bin/python
# Containers are looked at often, so that one is reaped while we wait.
export ZK_JVM="-Dznode.container.checkIntervalMs=300 -Dzookeeper.extendedTypesEnabled=true"

# serve VERSION DIR KEY=VALUE...: runs a server, sets $port
serve() {
    local pid
    read -r pid port < <("$apache" "$1" start "$2" preAllocSize=4 snapCount=1000000 "${@:3}")
}

for version in "${@:-3.8.0 3.9.4}"; do for version in $version; do
    dir=$(mktemp -d)
    serve "$version" "$dir"
    APACHE="$apache $version" "$python" "$here/make.py" all "127.0.0.1:$port"
    "$apache" "$version" stop "$dir"
    # A session with an ephemeral is alive in the snapshots of the next starts.
    serve "$version" "$dir"
    "$python" "$here/make.py" session "127.0.0.1:$port" &
    client=$!
    wait "$client"
    kill -9 "$(<"$dir/pid")"
    for method in gz snappy; do
        serve "$version" "$dir" "snapshot.compression.method=$method"
        "$apache" "$version" stop "$dir"
    done
    serve "$version" "$dir"
    "$apache" "$version" stop "$dir"
    rm -rf "${here:?}/apache-$version"
    mkdir "$here/apache-$version"
    cp "$dir"/data/version-2/{log,snapshot}.* "$here/apache-$version/"
    rm -rf "$dir"

    # A quorum of one that is reconfigured: epochs, epoch files, a reconfig transaction.
    dir=$(mktemp -d)
    mkdir -p "$dir/data"
    echo 1 >"$dir/data/myid"
    peers=$("$python" "$here/make.py" ports 2)
    serve "$version" "$dir" standaloneEnabled=false reconfigEnabled=true skipACL=yes \
        initLimit=10 syncLimit=5 "server.1=127.0.0.1:${peers// /:}:participant"
    "$python" "$here/make.py" quorum "127.0.0.1:$port"
    "$apache" "$version" stop "$dir"
    mkdir "$here/apache-$version/quorum"
    cp "$dir"/data/version-2/* "$here/apache-$version/quorum/"
    rm -rf "$dir"
done; done

# ZOOKEEPER-2623: an anonymous request that no Apache server can load again.
case "${*:-3.8.0}" in *3.8.0*)
    dir=$(mktemp -d)
    serve 3.8.0 "$dir"
    "$python" "$here/make.py" poison "127.0.0.1:$port"
    "$apache" 3.8.0 stop "$dir"
    mkdir "$here/apache-3.8.0/poisoned"
    cp "$dir"/data/version-2/{log,snapshot}.* "$here/apache-3.8.0/poisoned/"
    rm -rf "$dir"
    ;;
esac
