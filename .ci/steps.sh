# shellcheck shell=bash
# What .ci/run and .ci/long have in common; to be sourced. Prints each step with its time, and all
# of them at the end.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
export CARGO_TERM_COLOR=never RUST_BACKTRACE=1
# A fresh clone has nothing to be incremental to.
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0
target=$(pwd)/${CARGO_TARGET_DIR:-target}
[[ ${CARGO_TARGET_DIR:-} != /* ]] || target=$CARGO_TARGET_DIR
times=() current=start

# step NAME COMMAND...: runs a command or function; the script ends with the first that fails. With
# ZKFLEET_STEPS=REGEX only steps with such names, for a run in parts.
step() {
    local name=$1 start=$SECONDS
    shift
    if [[ ! $name =~ ${ZKFLEET_STEPS:-} ]]; then
        echo "--- left out: $name"
        return
    fi
    current=$name
    echo
    echo "=== $name"
    # Not behind || or if: bash would then go on behind errors inside of functions.
    "$@"
    times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
    echo "=== $name: ok, $((SECONDS - start)) s"
}

finish() {
    local code=$?
    [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
    [ -z "${work:-}" ] || rm -rf "$work"
    echo
    printf '%s\n' ${times[@]+"${times[@]}"}
    if [ "$code" = 0 ]; then
        echo "$((SECONDS / 60)) min $((SECONDS % 60)) s: ${#times[@]} passed, 0 failed"
    else
        echo "$((SECONDS / 60)) min $((SECONDS % 60)) s: ${#times[@]} passed, 1 failed: $current"
    fi
    exit "$code"
}
trap finish EXIT
work=$(mktemp -d)

# tests NAME [ARG...]: the tests of one test target; --workspace keeps the features of all crates,
# so that nothing is compiled twice.
tests() {
    cargo test --locked --workspace --test "$@"
}

# serves PORT: does a server there answer the four letters "srvr"?
serves() {
    local answer
    answer=$({ exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && timeout 2 cat <&3; } 2>/dev/null) || true
    [[ $answer == *Mode:* ]]
}

# foreign_clients [SUITE...]: their suites (default: all), on a server of ours that ends with 0
# afterwards.
foreign_clients() {
    local port i
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf '%s\n' "dataDir=$work/data" "clientPort=$port" clientPortAddress=127.0.0.1 tickTime=500 \
        maxClientCnxns=0 admin.enableServer=false '4lw.commands.whitelist=*' \
        extendedTypesEnabled=true >"$work/zoo.cfg"
    "$target/release/zkfleet" server "$work/zoo.cfg" >"$work/log" 2>&1 &
    server=$!
    for ((i = 0; i < 100; i++)); do
        ! serves "$port" || break
        sleep 0.1
    done
    if ! test/foreign/run-clients.sh "127.0.0.1:$port" "$@"; then
        tail -n 50 "$work/log"
        return 1
    fi
    kill "$server"
    wait "$server"
    server=
}
