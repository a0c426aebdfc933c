#!/bin/sh
# Shows that the demo's judge can see a broken promise: the same run, with a power cut in a burst,
# against the server as it is (nothing lost) and against one built to acknowledge before it syncs
# (WEIR_BUG=ACK_BEFORE_SYNC; the judge must find lost messages).
#
#   show_judge_catches.sh [BUILD_DIR]     a finished build with weir-demo (default build/release)
#
# Exit 0: both as expected.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
good=$(cd "${1:-$root/build/release}" && pwd) || exit 2
bug=$root/build/bug
mkdir -p "$root/build"

echo "== building a server that acknowledges before it syncs (build/bug)"
cmake -S "$root" -B "$bug" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWEIR_BUG=ACK_BEFORE_SYNC \
    -DWEIR_BUILD_TESTS=OFF -DWEIR_BUILD_BENCH=OFF >"$root/build/bug.configure.log" 2>&1 &&
    cmake --build "$bug" --target weir-server -- --quiet || {
    echo "the build failed; see build/bug.configure.log"
    exit 2
}

run() {
    "$good/bin/weir-demo" --bin-dir "$good/bin" --quick --plain --power-loss --seed "$1" \
        --server-bin "$2" >"$root/build/proof.out" 2>"$root/build/proof.err"
    code=$?
    sed -n '/\*\*/p;/^verdict/p;/^lost/p;/^demo:/p' "$root/build/proof.out"
    [ "$code" -le 1 ] || cat "$root/build/proof.err"
    kept=$(sed -n 's/^data, histories and logs are in //p' "$root/build/proof.err")
    case $kept in */weir-demo-??????) rm -rf "$kept" ;; esac
}

echo
echo "== power cut, the server as it is"
run 1 "$good/bin/weir-server"
honest=$code
echo
echo "== power cut, the server that acknowledges before it syncs"
caught=no
# A cut that falls between two syncs has nothing to take: a second and third try are fair.
for seed in 1 2 3; do
    run "$seed" "$bug/bin/weir-server"
    if [ "$code" = 1 ] && grep -Eq '^demo: .* lost [1-9]' "$root/build/proof.out"; then
        caught=yes
        break
    fi
done
echo
if [ "$honest" = 0 ] && [ "$caught" = yes ]; then
    echo "proof: the judge passes the server as it is, and catches the one that acknowledges too early"
    exit 0
fi
echo "proof FAILED: as it is: exit $honest (0 expected); too early: caught=$caught (yes expected)"
exit 1
