#!/usr/bin/env bash
# Runs the client suites against Apache ZooKeeper itself, for they must pass there.
#
#   selftest.sh [VERSION[:SERVERS]...] [-- SUITE...]
#
# VERSION is 3.8.0 or 3.9.4, SERVERS 1 (standalone) or more (an ensemble). The default
# is 3.8.0 3.9.4 3.9.4:3, and all suites.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
pids=()

finish() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    pids=()
}
trap 'finish; rm -rf "$work"' EXIT

# start VERSION SERVERS: starts them and sets hosts.
start() {
    local version=$1 servers=$2 ports i n command
    mapfile -t ports < <(python3 - $((servers * 3)) <<'EOF'
import socket, sys
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in taken], sep="\n")
EOF
    )
    rm -rf "${work:?}"/*
    hosts=
    for ((i = 0; i < servers; i++)); do
        mkdir -p "$work/$i/data"
        echo "$i" >"$work/$i/data/myid"
        {
            printf '%s\n' "dataDir=$work/$i/data" "clientPort=${ports[i]}" clientPortAddress=127.0.0.1 \
                tickTime=500 initLimit=20 syncLimit=10 maxClientCnxns=0 admin.enableServer=false \
                '4lw.commands.whitelist=*' extendedTypesEnabled=true
            for ((n = 0; n < servers && servers > 1; n++)); do
                echo "server.$n=127.0.0.1:${ports[servers + n]}:${ports[2 * servers + n]}"
            done
        } >"$work/$i/zoo.cfg"
        mapfile -t command < <("$here/apache.sh" "$version" command "$work/$i/zoo.cfg")
        "${command[@]}" </dev/null >"$work/$i/log" 2>&1 &
        pids+=($!)
        hosts+=${hosts:+,}127.0.0.1:${ports[i]}
    done
    for ((i = 0; i < servers; i++)); do
        for ((n = 0; n < 300; n++)); do
            ! (exec 3<>"/dev/tcp/127.0.0.1/${ports[i]}" && printf srvr >&3 && grep -q Mode: <&3) 2>/dev/null || continue 2
            sleep 0.1
        done
        echo "a server of $version did not come up" >&2
        tail -n 20 "$work/$i/log" >&2
        exit 1
    done
}

targets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
done
[ $# = 0 ] || shift
[ ${#targets[@]} -gt 0 ] || targets=(3.8.0 3.9.4 3.9.4:3)

bad=0
for target in "${targets[@]}"; do
    servers=1
    [[ $target != *:* ]] || servers=${target#*:}
    start "${target%:*}" "$servers"
    echo "== Apache ${target%:*}, $servers server(s)"
    "$here/run-clients.sh" "$hosts" "$@" || bad=1
    finish
done
exit $bad
