#!/bin/bash
# Builds anyedge for release, guided by a profile: an instrumented build does what users do, and the build that follows lays
# its code out by what was counted. It must then tell the digest of every shipped topology.
#
#   deploy/release.sh [OUT]        OUT: where the binary goes, default target/profiled/anyedge
#
# What is not in the profile is built small in the place of fast, so it holds both worlds: simulations, and as root a lab with
# traffic. Without root there is no lab, and the binary is for simulations alone.
# Takes two release builds and rustup's llvm-tools, which it adds. See "Profile-guided Optimization" in the rustc book.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
out=${1:-$target/profiled/anyedge}
folder=$(mktemp -d)
lab=

finish() {
    [ -z "$lab" ] || "$lab" lab down --name release >/dev/null 2>&1 || echo "the lab is left: anyedge lab down --name release" >&2
    rm -rf "$folder"
}
trap finish EXIT

rustup component add llvm-tools >/dev/null 2>&1 || {
    echo "there are no llvm-tools: rustup component add llvm-tools" >&2
    exit 2
}
profdata=$(find "$(rustc --print sysroot)" -name llvm-profdata -type f | head -1)

build() {
    RUSTFLAGS="${RUSTFLAGS:-} $2" CARGO_TARGET_DIR="$target/$1" cargo build --release --locked --bin anyedge
}

# A service level that is not kept, as over a part of a run, is not what is asked here.
simulate() {
    "$target/$1/release/anyedge" sim -q "${@:2}" >/dev/null || [ $? -eq 1 ]
}

echo "== an instrumented build"
build instrumented "-Cprofile-generate=$folder/raw"

echo "== what it does: simulations"
export LLVM_PROFILE_FILE="$folder/simulated/%m_%p.profraw"
simulate instrumented topologies/bench/dumbbell-udp.toml --duration 8s
simulate instrumented topologies/bench/dumbbell-tcp.toml --duration 15s
simulate instrumented topologies/global-14.toml

inputs=("$folder/simulated")
if [ "$(id -u)" -eq 0 ] && [ -c /dev/net/tun ]; then
    echo "== what it does: a lab"
    # Each process of it writes a profile when it ends.
    export LLVM_PROFILE_FILE="$folder/live/%m_%p.profraw"
    lab=$target/instrumented/release/anyedge
    "$lab" lab up topologies/two-pops.toml --name release >/dev/null
    "$lab" lab bench --name release --for 5s --quiet
    "$lab" lab down --name release >/dev/null
    lab=
    inputs+=("$folder/live")
else
    echo "no root or no /dev/net/tun, hence no lab: what forwards real packets will be built small, not fast" >&2
fi
"$profdata" merge -o "$folder/profile" "${inputs[@]}"
unset LLVM_PROFILE_FILE

echo "== the build for release"
build profiled "-Cprofile-use=$folder/profile"

echo "== the same digests"
while read -r digest file; do
    case $file in topologies/bench/*) short="--duration 1s" ;; *) short="" ;; esac
    # Unquoted: no option or two words.
    simulate profiled $short "$file" --json "$folder/report"
    grep -q "$digest" "$folder/report" || {
        echo "$file has another digest than $digest" >&2
        exit 1
    }
done <tests/goldens/digests.txt

mkdir -p "$(dirname "$out")"
cp "$target/profiled/release/anyedge" "$out"
echo "$out"
