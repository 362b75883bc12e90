#!/usr/bin/env bash
# Collects the foreign software that the tests and benchmarks talk to: Apache
# ZooKeeper servers, and client libraries in several languages. None of it is
# part of the product, and nothing here starts a service.
#
#   setup.sh [apache38] [apache39] [curator] [kazoo] [c] [node] [rust]    (default: all)
#
# Everything lands in ${ZKFLEET_FOREIGN:-$HOME/.cache/zkfleet-foreign}:
#   apache-3.8.0/classpath   Apache ZooKeeper 3.8.0 (Debian packages)
#   apache-3.9.4/classpath   Apache ZooKeeper 3.9.4 (jars that PySpark ships)
#   curator/classpath        Curator 5.9.0 on the ZooKeeper 3.9.4 client
#   py/bin/python            a Python with kazoo, and pure-sasl, with which kazoo does SASL
#   node/node_modules        node-zookeeper-client
#   rust/debug/rust-suite    clients/rust, built on the crate zookeeper-client
# The C client is the system's libzookeeper-mt-dev. A classpath file is one line,
# ready for java -cp. Each part is skipped when it is there already; one line
# "ok WHAT VERSION" or "FAIL WHAT: why" is printed per part, and the exit code is
# 0 only if all are there. Made for Debian 12. Only the Debian packages need root:
# without root, this says which ones to install.
set -euo pipefail

readonly PYSPARK=4.1.4 ZK38=3.8.0 ZK39=3.9.4 CURATOR=5.9.0
readonly KAZOO=2.11.0 PURE_SASL=0.6.2 PIP=24.3.1 NODE_ZK=1.1.3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${ZKFLEET_FOREIGN:-$HOME/.cache/zkfleet-foreign}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
log=$cache/setup.log

# Two runs at once take turns.
exec 9>"$cache/.lock"
flock 9
: >"$log"

# apt PACKAGE...: installs what is missing of the Debian packages.
apt_updated=
apt() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        why="needs root; run: apt-get install -y --no-install-recommends ${missing[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "$apt_updated" ]; then
        apt-get -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 || true
        apt_updated=1
    fi
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" </dev/null >>"$log" 2>&1 9>&- ||
        { why="apt-get install ${missing[*]} failed, see $log"; return 1; }
}

# have COMMAND PACKAGE...: the packages are wanted only if the command is missing.
have() {
    command -v "$1" >/dev/null 2>&1 || apt "${@:2}"
}

# good_classpath FILE: the file is there, and every jar that it names.
good_classpath() {
    [ -s "$1" ] || return 1
    local entry entries
    IFS=: read -ra entries <"$1"
    for entry in "${entries[@]}"; do
        [ -e "$entry" ] || return 1
    done
}

# write_classpath FILE ENTRY...: one line, put in place at once.
write_classpath() {
    local file=$1 IFS=:
    printf '%s\n' "${*:2}" >"$file.new"
    mv "$file.new" "$file"
    good_classpath "$file" || { why="$file names a jar that is missing"; return 1; }
}

# The jetty jars that Apache's AdminServer wants; 3.8 and 3.9 both use jetty 9.4.
jetty=()
for j in server servlet util util-ajax http io security; do
    jetty+=("/usr/share/java/jetty9-$j.jar")
done

apache38() {
    local dir=$cache/apache-$ZK38 jars=() j
    have javac default-jdk-headless && apt libzookeeper-java || return 1
    good_classpath "$dir/classpath" && return
    mkdir -p "$dir"
    for j in zookeeper-$ZK38 zookeeper-jute-$ZK38 slf4j-api slf4j-simple commons-cli commons-io \
        netty-{buffer,codec,common,handler,resolver,transport} \
        netty-transport-native-{epoll,unix-common} netty-tcnative snappy-java metrics-core \
        jackson-{annotations,core,databind} servlet-api; do
        jars+=("/usr/share/java/$j.jar")
    done
    write_classpath "$dir/classpath" "${jars[@]}" "${jetty[@]}"
}

# A Python of our own: with a fixed pip for sdist_jars.py, and for kazoo.
venv() {
    [ -x "$cache/py/bin/python" ] && "$cache/py/bin/python" -c 'import pip' 2>/dev/null && return
    have python3 python3 || return 1
    python3 -c 'import venv, ensurepip' 2>/dev/null || apt python3-venv || return 1
    rm -rf "$cache/py"
    { python3 -m venv "$cache/py" && "$cache/py/bin/python" -m pip install -q "pip==$PIP"; } >>"$log" 2>&1 ||
        { why="no Python environment could be made, see $log"; rm -rf "$cache/py"; return 1; }
}

# The 3.9.4 jars and Curator's come from one archive.
apache39() {
    local dir=$cache/apache-$ZK39
    have javac default-jdk-headless && apt libjetty9-java || return 1
    good_classpath "$dir/classpath" && good_classpath "$cache/curator/classpath" && return
    venv || return 1
    # PySpark's source archive is 450 MB; it is read as a stream and never stored.
    local new=$cache/jars.new
    rm -rf "$new" && mkdir "$new"
    "$cache/py/bin/python" "$here/sdist_jars.py" "pyspark==$PYSPARK" "$new" \
        "zookeeper-$ZK39" "zookeeper-jute-$ZK39" audience-annotations slf4j-api log4j-api log4j-core \
        log4j-slf4j2-impl commons-cli commons-io jline-2 snappy-java metrics-core guava failureaccess \
        jackson-annotations jackson-core jackson-databind javax.servlet-api \
        netty-{buffer,codec,common,handler,resolver,transport} netty-tcnative \
        "curator-client-$CURATOR" "curator-framework-$CURATOR" "curator-recipes-$CURATOR" >>"$log" 2>&1 ||
        { why="the jars of pyspark $PYSPARK could not be had, see $log"; return 1; }
    # Of netty leave out protocols and systems that ZooKeeper has no use for.
    rm -f "$new"/netty-codec-{http,native-quic,classes-quic,dns,socks}*.jar \
        "$new"/netty-*{osx,windows,kqueue,io_uring}*.jar "$new"/netty-resolver-dns*.jar
    rm -rf "$dir" "$cache/curator"
    mkdir "$cache/curator"
    mv "$new"/curator-*.jar "$cache/curator/"
    mv "$new" "$dir"
    cat >"$dir/log4j2.properties" <<'EOF'
# Log to stderr; the level is chosen by -Dzk.log.
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{ABSOLUTE} %-5p [%t:%c{1}] %m%n
rootLogger.level = ${sys:zk.log:-WARN}
rootLogger.appenderRef.err.ref = err
EOF
    write_classpath "$dir/classpath" "$dir" "$dir"/*.jar "${jetty[@]}" &&
        write_classpath "$cache/curator/classpath" "$cache/curator"/*.jar "$dir" "$dir"/*.jar
}

kazoo() {
    venv || return 1
    [ "$("$cache/py/bin/python" -c 'import importlib.metadata as m, kazoo.client, puresasl.client
print(m.version("kazoo"), m.version("pure-sasl"))' 2>/dev/null)" = "$KAZOO $PURE_SASL" ] && return
    "$cache/py/bin/python" -m pip install -q "kazoo==$KAZOO" "pure-sasl==$PURE_SASL" >>"$log" 2>&1 ||
        { why="pip could not install kazoo $KAZOO and pure-sasl $PURE_SASL, see $log"; return 1; }
}

c_client() {
    have gcc gcc libc6-dev && apt libzookeeper-mt-dev
}

node_client() {
    have node nodejs && have npm npm || return 1
    [ "$(node_version)" = "$NODE_ZK" ] && return
    mkdir -p "$cache/node"
    npm install --prefix "$cache/node" --no-audit --no-fund --ignore-scripts \
        "node-zookeeper-client@$NODE_ZK" >>"$log" 2>&1 ||
        { why="npm could not install node-zookeeper-client $NODE_ZK, see $log"; return 1; }
}

node_version() {
    sed -n 's/^ *"version": "\(.*\)".*/\1/p' "$cache/node/node_modules/node-zookeeper-client/package.json" 2>/dev/null || true
}

# Cargo builds what has changed, so this is never skipped.
rust_client() {
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    cargo build --quiet --locked --manifest-path "$here/clients/rust/Cargo.toml" \
        --target-dir "$cache/rust" >>"$log" 2>&1 9>&- ||
        { why="clients/rust could not be built, see $log"; return 1; }
}

rust_version() {
    sed -n 's/^zookeeper-client = .*"=\([0-9.]*\)".*/\1/p' "$here/clients/rust/Cargo.toml"
}

[ $# -gt 0 ] || set -- apache38 apache39 curator kazoo c node rust
failed=0
for part in "$@"; do
    why=failed is=
    case $part in
    apache38) what="apache-zookeeper $ZK38" && apache38 && is=ok ;;
    apache39) what="apache-zookeeper $ZK39" && apache39 && is=ok ;;
    curator) what="curator $CURATOR" && apache39 && is=ok ;;
    kazoo) what="kazoo $KAZOO" && kazoo && is=ok ;;
    c) what="c-client" && c_client && is=ok && what+=" $(dpkg-query -W -f '${Version}' libzookeeper-mt-dev)" ;;
    node) what="node-zookeeper-client $NODE_ZK" && node_client && is=ok ;;
    rust) what="rust-suite, zookeeper-client $(rust_version)" && rust_client && is=ok ;;
    *) echo "usage: $0 [apache38] [apache39] [curator] [kazoo] [c] [node] [rust]" >&2; exit 2 ;;
    esac
    if [ -n "$is" ]; then
        echo "ok $what"
    else
        echo "FAIL $what: $why"
        failed=1
    fi
done
exit $failed
