#!/bin/sh
# Power cuts under the real store: whatever the disk does with what was not synced, nothing acknowledged
# is missing and the start is not refused. BIN_DIR as argument.
set -eu
bin=$1
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
for n in 60 700 1500; do
    for fate in none:keep truncate:keep truncate:undo truncate:strict prefix:random garble:random zero:strict; do
        rm -rf "$top/db" "$top/state"
        mkdir "$top/db" "$top/state"
        env WEIR_POWERLOSS_DIR="$top/db" WEIR_POWERLOSS_STATE="$top/state" \
            LD_PRELOAD="$bin/libweir-powerloss.so" \
            "$bin/store_power_cut" write "$top/db" "$top/acks" $n 2>/dev/null && exit 1
        if [ "$fate" != none:keep ]; then
            "$bin/powerloss-apply" --dir "$top/db" --state "$top/state" --data "${fate%:*}" \
                --names "${fate#*:}" >/dev/null
        fi
        "$bin/store_power_cut" check "$top/db" "$top/acks" || { echo "$n batches, $fate: failed"; exit 1; }
    done
done
echo "21 power cuts, nothing acknowledged missing"
