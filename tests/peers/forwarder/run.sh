#!/bin/bash
# Runs the forwarder benchmark with anyedge as one more stack:  run.sh "STACKS" REPS [WORKLOADS..]
#   run.sh "r_relay_gso anyedge" 3 tcp1 tcp4
# The harness is found by ANYEDGE_BENCH_FORWARDER (default: ../shared/bench-forwarder beside the repository), copied
# into a scratch directory and built there. ANYEDGE is the binary (default: target/release/anyedge). Needs root, gcc
# and the packages that the harness's README names. OFFLOAD=off: real 1,500-byte frames on every hop.
set -e
here=$(dirname "$(readlink -f "$0")"); root=$(readlink -f "$here/../../..")
harness=${ANYEDGE_BENCH_FORWARDER:-$root/../shared/bench-forwarder}
export RUN=${RUN:-${TMPDIR:-/tmp}/anyedge-bench-forwarder}
export ANYEDGE=${ANYEDGE:-${CARGO_TARGET_DIR:-$root/target}/release/anyedge}
export ANYEDGE_TOPOLOGY=$root/topologies/bench/forwarder.toml CLB_UNDERLAY=172.17.204.230
mkdir -p "$RUN/harness"; cp -rL "$harness/." "$RUN/harness/"; chmod -R u+w "$RUN/harness"
cp "$here/anyedge.sh" "$RUN/harness/stacks/"
gcc -O2 -o "$RUN/harness/nperf" "$RUN/harness/nperf.c"
gcc -O3 -o "$RUN/harness/relay" "$RUN/harness/relay.c" -lpthread
exec "$RUN/harness/bench.sh" all "$@"
