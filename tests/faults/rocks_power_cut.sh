#!/bin/sh
# The injector reaches librocksdb: after a power cut the synced puts are there and the others are not;
# after a mere kill all are. BIN_DIR as argument.
set -eu
bin=$1
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
for fate in none:keep truncate:keep truncate:undo truncate:strict garble:random; do
    data=${fate%:*}
    rm -rf "$top/db" "$top/state"
    mkdir "$top/db" "$top/state"
    WEIR_POWERLOSS_DIR=$top/db WEIR_POWERLOSS_STATE=$top/state LD_PRELOAD=$bin/libweir-powerloss.so \
        "$bin/rocks_probe" write "$top/db" 2>/dev/null && exit 1
    want=300
    if [ "$data" != none ]; then
        "$bin/powerloss-apply" --dir "$top/db" --state "$top/state" --data "$data" --names "${fate#*:}"
        want=200
    fi
    got=$("$bin/rocks_probe" count "$top/db")
    # Garbled sectors may leave some of the others readable.
    if [ "$got" != "$want" ] && { [ "$data" != garble ] || [ "$got" -lt 200 ]; }; then
        echo "$fate: $got rows, $want expected"
        exit 1
    fi
    echo "$fate: $got rows"
done
