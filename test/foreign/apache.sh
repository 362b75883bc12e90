#!/usr/bin/env bash
# Runs Apache ZooKeeper as collected by setup.sh.
#
#   apache.sh VERSION command CFG      prints the server's command line, one argument per line
#   apache.sh VERSION run CFG          runs the server in the foreground
#   apache.sh VERSION start DIR [KEY=VALUE...]
#                                      starts a standalone server on 127.0.0.1 with its files in
#                                      DIR, waits until it serves, prints "PID PORT"
#   apache.sh VERSION stop DIR         stops that server
#   apache.sh VERSION cli ARG...       zkCli, e.g. cli -server 127.0.0.1:2181 ls /
#   apache.sh VERSION tool CLASS ARG...
#                                      a class of org.apache.zookeeper.server (or a full name),
#                                      e.g. tool SnapshotFormatter FILE, tool TxnLogToolkit FILE
#   apache.sh VERSION env              prints JAVA=... and CLASSPATH=...
#
# VERSION is 3.8.0 or 3.9.4. A server is standalone, or a member of an ensemble, by
# its CFG (a zoo.cfg); with an ensemble put the member's number into dataDir/myid.
# Keys that Apache reads as system properties (extendedTypesEnabled, ...) work as lines
# of CFG too. Environment:
#   ZK_HEAP   most memory of the Java heap (default 512m)
#   ZK_LOG    log level, to stderr (default WARN)
#   ZK_JVM    further arguments of java, separated by spaces
set -euo pipefail

usage() {
    sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

[ $# -ge 2 ] || usage
version=$1 verb=$2
shift 2
dir=${ZKFLEET_FOREIGN:-$HOME/.cache/zkfleet-foreign}/apache-$version
[ -s "$dir/classpath" ] || {
    echo "apache.sh: no ZooKeeper $version here: run test/foreign/setup.sh" >&2
    exit 2
}
classpath=$(<"$dir/classpath")
# Without a terminal zkCli shall not edit lines, and so print prompts and echoes.
if [ "$verb" = cli ] && [ ! -t 0 ] && [[ $classpath =~ ^(.*:)?[^:]*/jline-[^:]*:(.*)$ ]]; then
    classpath=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
fi
java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
level=${ZK_LOG:-WARN}
read -ra jvm <<<"${ZK_JVM:-}"

# 3.8.0 logs through slf4j-simple, 3.9.4 through log4j2 (its file reads zk.log).
command=("$java" "-Xmx${ZK_HEAP:-512m}" -Dzookeeper.jmx.log4j.disable=true
    "-Dzk.log=$level" "-Dorg.slf4j.simpleLogger.defaultLogLevel=${level,,}"
    -Dorg.slf4j.simpleLogger.showDateTime=true
    '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss,SSS'
    -Djava.awt.headless=true ${jvm[@]+"${jvm[@]}"} -cp "$classpath")
server=org.apache.zookeeper.server.quorum.QuorumPeerMain

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# serves PORT: does a server there answer the four letters "srvr"?
serves() {
    local answer
    answer=$({ exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && timeout 2 cat <&3; } 2>/dev/null) || true
    [[ $answer == *Mode:* ]]
}

start() {
    local dir=$1 port pid line i
    shift
    mkdir -p "$dir/data"
    port=
    for line in "$@"; do
        [[ $line != clientPort=* ]] || port=${line#clientPort=}
    done
    {
        printf '%s\n' "dataDir=$dir/data" clientPortAddress=127.0.0.1 tickTime=500 \
            maxClientCnxns=0 admin.enableServer=false '4lw.commands.whitelist=*'
        if [ -z "$port" ]; then
            port=$(free_port)
            echo "clientPort=$port"
        fi
        [ $# -eq 0 ] || printf '%s\n' "$@"
    } >"$dir/zoo.cfg"
    "${command[@]}" "$server" "$dir/zoo.cfg" </dev/null >"$dir/log" 2>&1 &
    pid=$!
    echo "$pid" >"$dir/pid"
    for ((i = 0; i < 300; i++)); do
        if serves "$port"; then
            echo "$pid $port"
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
    echo "apache.sh: the server did not come up, its log is $dir/log" >&2
    return 1
}

stop() {
    local pid i
    pid=$(<"$1/pid")
    kill "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$1/pid"
}

case $verb in
command)
    [ $# -eq 1 ] || usage
    printf '%s\n' "${command[@]}" "$server" "$1"
    ;;
run)
    [ $# -eq 1 ] || usage
    exec "${command[@]}" "$server" "$1"
    ;;
start)
    [ $# -ge 1 ] || usage
    start "$@"
    ;;
stop)
    [ $# -eq 1 ] || usage
    stop "$1"
    ;;
cli)
    exec "${command[@]}" org.apache.zookeeper.ZooKeeperMain "$@"
    ;;
tool)
    [ $# -ge 1 ] || usage
    class=$1
    shift
    [[ $class == *.* ]] || class=org.apache.zookeeper.server.$class
    # TxnLogToolkit and its like are in the persistence package.
    [[ $class != *.server.TxnLogToolkit ]] || class=org.apache.zookeeper.server.persistence.TxnLogToolkit
    exec "${command[@]}" "$class" "$@"
    ;;
env)
    printf 'JAVA=%s\nCLASSPATH=%s\n' "$java" "$classpath"
    ;;
*) usage ;;
esac
