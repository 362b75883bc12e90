#!/usr/bin/env bash
# Conformance of a ZooKeeper server as Apache's own zkCli sees it, in both versions.
#
#   zkcli_suite.sh HOST:PORT[,HOST:PORT] [VERSION...]    (default: 3.8.0 3.9.4)
#
# One zkCli of each version runs all commands of the transcript below, and what it
# prints is compared. Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed,
# N failed"; exits 0 only if none failed.
#
# In the transcript "# NAME" starts a check, "> COMMAND" is given to zkCli, other lines
# are what is to be printed, and $R stands for a path of our own. Times, zxids and
# log lines are left out. Watch events come when they come, so they are a check of
# their own. Identities come in no order.
set -euo pipefail

transcript() {
    cat <<'EOF'
# basics
> create $R/n one
Created $R/n
> get $R/n
one
> set $R/n two
> set -s $R/n three
cversion = 0
dataVersion = 2
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 5
numChildren = 0
> get -s $R/n
three
cversion = 0
dataVersion = 2
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 5
numChildren = 0
> set -v 0 $R/n x
version No is not valid : $R/n
> create $R/n x
Node already exists: $R/n
> get $R/none
Node does not exist: $R/none
> ls $R/none
Node does not exist: $R/none
> create $R/p/q/r x
Node does not exist: $R/p/q/r
> delete -v 5 $R/n
version No is not valid : $R/n
> delete $R/n
> stat $R/n
Node does not exist: $R/n
# kinds
> create $R/kinds
Created $R/kinds
> create -s $R/kinds/s- x
Created $R/kinds/s-0000000000
> create -e $R/kinds/e x
Created $R/kinds/e
> create -s -e $R/kinds/s- x
Created $R/kinds/s-0000000002
> create -c $R/kinds/c x
Created $R/kinds/c
> create $R/kinds/e/child x
Ephemerals cannot have children: $R/kinds/e/child
> ls $R/kinds
[c, e, s-0000000000, s-0000000002]
> stat $R/kinds
cversion = 4
dataVersion = 0
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 0
numChildren = 4
> getEphemerals $R/kinds/e
[$R/kinds/e]
# trees
> create $R/a
Created $R/a
> create $R/a/b
Created $R/a/b
> create $R/a/b/c
Created $R/a/b/c
> ls -R $R/a
$R/a
$R/a/b
$R/a/b/c
> getAllChildrenNumber $R/a
2
> delete $R/a
Node not empty: $R/a
> deleteall $R/a
> ls $R/a
Node does not exist: $R/a
# acl
> getAcl $R
'world,'anyone
: cdrwa
> create $R/mine x auth::cdrwa
KeeperErrorCode = InvalidACL for $R/mine
Acl is not valid : $R/mine
> addauth digest joe:secret
> create $R/mine x auth::cdrwa
Created $R/mine
> getAcl $R/mine
'digest,'joe:oesAybBun9icKJjQSTRN8OBueSc=
: cdrwa
> setAcl $R/mine world:anyone:r,digest:joe:oesAybBun9icKJjQSTRN8OBueSc=:cdrwa
> getAcl -s $R/mine
'world,'anyone
: r
'digest,'joe:oesAybBun9icKJjQSTRN8OBueSc=
: cdrwa
cversion = 0
dataVersion = 0
aclVersion = 1
ephemeralOwner = 0x0
dataLength = 1
numChildren = 0
> setAcl -v 0 $R/mine world:anyone:r
version No is not valid : $R/mine
> create $R/bare x world:anyone:r
Created $R/bare
> set $R/bare y
Insufficient permission : $R/bare
> create $R/bare/child
Insufficient permission : $R/bare/child
# identities
> whoami
Auth scheme: User
digest: joe
ip: 127.0.0.1
# quota
> create $R/quota x
Created $R/quota
> setquota -n 2 $R/quota
> setquota -b 100 $R/quota
> create $R/quota/a
Created $R/quota/a
> listquota $R/quota
absolute path is /zookeeper/quota$R/quota/zookeeper_limits
Output quota for $R/quota count=2,bytes=100=;byteHardLimit=-1;countHardLimit=-1
Output stat for $R/quota count=2,bytes=1
> delquota $R/quota
> listquota $R/quota
absolute path is /zookeeper/quota$R/quota/zookeeper_limits
quota for $R/quota does not exist.
> create $R/hard x
Created $R/hard
> setquota -N 2 $R/hard
> setquota -B 100 $R/hard
> setquota -n 1 $R/hard
> listquota $R/hard
absolute path is /zookeeper/quota$R/hard/zookeeper_limits
Output quota for $R/hard count=1,bytes=-1=;byteHardLimit=100;countHardLimit=2
Output stat for $R/hard count=1,bytes=1
> delquota -N $R/hard
> delquota -B $R/hard
> listquota $R/hard
absolute path is /zookeeper/quota$R/hard/zookeeper_limits
Output quota for $R/hard count=1,bytes=-1=;byteHardLimit=-1;countHardLimit=-1
Output stat for $R/hard count=1,bytes=1
> setquota -n 1 $R/none
$R/none does not exist.
> setquota -n 0 $R
the num quota must be greater than zero
# ttl
> create $R/t
Created $R/t
> create -t 600000 $R/t/one x
Created $R/t/one
> create -s -t 600000 $R/t/s- x
Created $R/t/s-0000000001
> create -t -1 $R/t/two x
ttl must be positive and cannot be larger than: 1099511627775
> create -e -t 600000 $R/t/two x
TTLs cannot be used with Ephemeral znodes
> create -c -t 600000 $R/t/two x
TTLs cannot be used with Container znodes
> stat $R/t/one
cversion = 0
dataVersion = 0
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 1
numChildren = 0
# recursion
> create $R/r
Created $R/r
> create $R/r/a
Created $R/r/a
> create $R/r/a/b
Created $R/r/a/b
> setAcl -R $R/r world:anyone:cdrw
> getAcl $R/r/a/b
'world,'anyone
: cdrw
> setAcl $R/r world:anyone:cdrwa
Insufficient permission : $R/r
> ls -s $R/r
[a]
cversion = 1
dataVersion = 0
aclVersion = 1
ephemeralOwner = 0x0
dataLength = 0
numChildren = 1
> deleteall -b 2 $R/r
> stat $R/r
Node does not exist: $R/r
# refusals
> create $R/o x
Created $R/o
> set -s -v 0 $R/o y
cversion = 0
dataVersion = 1
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 1
numChildren = 0
> get $R/o/
Path must not end with / character
> ls o
Path must start with / character
> delete -v 9 $R/o
version No is not valid : $R/o
> getEphemerals $R/o
[]
> removewatches $R/o
KeeperErrorCode = No such watcher for $R/o
> setAcl $R/o nonsense
nonsense does not have the form scheme:id:perm
Acl is not valid : null
> setAcl $R/o digest:joe:r
Acl is not valid : $R/o
> create $R/z z nosuch:x:r
KeeperErrorCode = InvalidACL for $R/z
Acl is not valid : $R/z
> delete /
Arguments are not valid : /
> sync $R/none
Sync is OK
# sync
> sync $R
Sync is OK
> ls /zookeeper
[config, quota]
> create noslash x
Path must start with / character
# watched
> create $R/w
Created $R/w
> get -w $R/w
null
> set $R/w 1
> set $R/w 2
> ls -w $R/w
[]
> create $R/w/a
Created $R/w/a
> stat -w $R/w/a
cversion = 0
dataVersion = 0
aclVersion = 0
ephemeralOwner = 0x0
dataLength = 0
numChildren = 0
> delete $R/w/a
> addWatch -m PERSISTENT_RECURSIVE $R/w
> create $R/w/b
Created $R/w/b
> set $R/w/b 1
> delete $R/w/b
> get -w $R/o
y
> removewatches $R/o -d
> set $R/o z
> sync $R
Sync is OK
EOF
}

# The events of the transcript's commands, in their order.
events() {
    cat <<'EOF'
WatchedEvent state:SyncConnected type:NodeDataChanged path:$R/w
WatchedEvent state:SyncConnected type:NodeChildrenChanged path:$R/w
WatchedEvent state:SyncConnected type:NodeDeleted path:$R/w/a
WatchedEvent state:SyncConnected type:NodeCreated path:$R/w/b
WatchedEvent state:SyncConnected type:NodeDataChanged path:$R/w/b
WatchedEvent state:SyncConnected type:NodeDeleted path:$R/w/b
WatchedEvent state:SyncConnected type:DataWatchRemoved path:$R/o
EOF
}

# Leaves what is to be compared of zkCli's output.
plain() {
    sed -E -e 's/\r$//' -e 's/ zxid: .*//' \
        -e '/^(Connecting to |Welcome to |JLine |WATCHER::|[cmp]Zxid = |[cm]time = |[0-9]{2}:[0-9:,]+ )|^$| type:None /d'
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 HOST:PORT[,HOST:PORT] [VERSION...]" >&2; exit 2; }
hosts=$1
shift
[ $# -gt 0 ] || set -- 3.8.0 3.9.4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# verdict NAME WANTED GOT: compares two files.
verdict() {
    local difference
    if difference=$(diff "$2" "$3"); then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1: ${difference//$'\n'/ | }"
        failed=$((failed + 1))
    fi
}

for version in "$@"; do
    root=/zkcli-suite-$$-$version
    names=$(transcript | sed -n 's/^# //p')
    # A node named @NAME is made before each check, to find its output again.
    {
        echo "create $root"
        transcript | sed -n -e "s,[$]R,$root,g" -e "s,^# ,create $root/@,p" -e 's/^> //p'
        echo "create $root/@end"
        for _ in 1 2 3 4 5; do echo "sync $root"; done # time for events to come
        echo "deleteall $root/bare"
        echo "deleteall $root"
        echo quit
    } >"$work/commands"
    timeout 60 "$here/../apache.sh" "$version" cli -server "$hosts" <"$work/commands" 2>&1 | plain >"$work/all" || true
    transcript | sed -e '/^> /d' -e "s,[$]R,$root,g" >"$work/wanted"
    grep -v '^WatchedEvent ' "$work/all" >"$work/printed" || true
    for name in $names; do
        sed -n "/^# $name\$/,/^# /{/^# /!p}" "$work/wanted" >"$work/want"
        sed -n "\,^Created $root/@$name\$,,\,^Created $root/@,{\,^Created $root/@,!p}" "$work/printed" >"$work/got"
        [ "$name" != identities ] || sort -o "$work/got" "$work/got"
        verdict "${version}_$name" "$work/want" "$work/got"
    done
    events | sed "s,[$]R,$root,g" >"$work/want"
    grep '^WatchedEvent ' "$work/all" | head -n 7 >"$work/got" || true
    verdict "${version}_events" "$work/want" "$work/got"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
