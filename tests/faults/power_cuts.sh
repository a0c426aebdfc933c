#!/bin/sh
# Many power cuts: small runs of the demo, each with other cuts, other seeds and other fates of what
# was not synced. Every acknowledged message must be there afterwards, every time.
#
#   power_cuts.sh BIN_DIR RUNS      each run has three cuts
#
# Stops at the first run that fails and says how to repeat it (its directory is kept).
set -u
bin=$1
runs=$2
fates="truncate:undo prefix:random garble:keep zero:undo truncate:strict garble:random"
cuts=0
i=0
while [ "$i" -lt "$runs" ]; do
    for fate in $fates; do
        [ "$i" -lt "$runs" ] || break
        i=$((i + 1))
        # Every other run with consumers as fast as the producers: they read the newest messages, so
        # one that was shown before it was durable is noticed.
        seconds=$((i % 2 == 0 ? 4 : 1))
        set -- --bin-dir "$bin" --plain --messages 200000 --seconds $seconds --bursts 4 --kills 3 --down-ms 0 \
            --power-loss --power-data "${fate%:*}" --power-names "${fate#*:}" --seed "$i"
        if ! out=$("$bin/weir-demo" "$@" 2>&1); then
            echo "$out"
            echo "FAILED in run $i: weir-demo $*"
            exit 1
        fi
        cuts=$((cuts + 3))
        echo "run $i ($fate, $seconds s): $(echo "$out" | tail -n 1)"
    done
done
echo "$cuts power cuts, nothing lost"
