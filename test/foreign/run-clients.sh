#!/usr/bin/env bash
# Runs the foreign client suites against a server or an ensemble.
#
#   run-clients.sh HOST:PORT[,HOST:PORT...] [SUITE...]    (default: all suites)
#
# The suites are kazoo, c, curator, node, rust and zkcli (see clients/), and want what
# setup.sh collects. Each line of a suite is printed as "SUITE: LINE"; a suite that
# does not run to its end counts as one failure. The last line has the totals, as
# "N passed, N failed"; the exit code is 0 only if none failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${ZKFLEET_FOREIGN:-$HOME/.cache/zkfleet-foreign}
seconds=${SUITE_SECONDS:-900} # the most that one suite may take
[ $# -ge 1 ] || { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
hosts=$1
shift
[ $# -gt 0 ] || set -- kazoo c curator node rust zkcli

# Without a server each check would fail after a long wait of its own.
answers=
for host in ${hosts//,/ }; do
    ! (exec 3<>"/dev/tcp/${host%:*}/${host##*:}") 2>/dev/null || answers=1
done
[ -n "$answers" ] || { echo "FAIL: no server at $hosts"; echo "0 passed, 1 failed"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# prepare SUITE: builds it if it has to be built, and sets command.
prepare() {
    local classpath
    case $1 in
    kazoo) command=("$cache/py/bin/python" "$here/clients/kazoo_suite.py") ;;
    c)
        gcc -std=gnu11 -O1 -Wall -Wextra -DTHREADED -o "$work/c_suite" "$here/clients/c_suite.c" \
            -lzookeeper_mt -lpthread || return 1
        command=("$work/c_suite")
        ;;
    curator)
        classpath=$(<"$cache/curator/classpath") || return 1
        javac -nowarn -d "$work" -cp "$classpath" "$here/clients/CuratorSuite.java" || return 1
        command=(java -Xmx256m -Dzk.log=OFF -cp "$work:$classpath" CuratorSuite)
        ;;
    node) command=(env "NODE_PATH=$cache/node/node_modules" node "$here/clients/node_suite.js") ;;
    rust)
        # Quick if it was built before, and did not change since.
        "$here/setup.sh" rust >&2 || return 1
        command=("$cache/rust/debug/rust-suite")
        ;;
    zkcli) command=("$here/clients/zkcli_suite.sh") ;;
    *) echo "there is no suite $1" >&2; return 1 ;;
    esac
}

passed=0 failed=0
for name in "$@"; do
    start=$SECONDS good=0 bad=1
    if prepare "$name"; then
        timeout "$seconds" "${command[@]}" "$hosts" </dev/null 2>&1 | tee "$work/out" | sed -u "s/^/$name: /" || true
        # The suite's own last line says how many checks passed.
        if totals=$(tail -n 1 "$work/out" | grep -xE '[0-9]+ passed, [0-9]+ failed'); then
            read -r good _ bad _ <<<"$totals"
        else
            echo "$name: FAIL: the suite did not run to its end"
        fi
    else
        echo "$name: FAIL: the suite could not be built"
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    echo "$name: took $((SECONDS - start)) s"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
