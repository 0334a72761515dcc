#!/bin/bash
# A sweep of two seeds by two jobs against two `anyedge sim` side by side, in turn: CPU seconds of both, and wall seconds.
#
#   tests/peers/sweep/run.sh [TOPOLOGY] [ROUNDS] [PATH OF anyedge]
#
# CPU seconds are user + sys of all processes, start-up and results included. The ratio is of the medians: what two processes
# take, over what the sweep takes.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
file=${1:-$root/topologies/bench/dumbbell-udp.toml}
rounds=${2:-5}
anyedge=$(realpath "${3:-$root/target/release/anyedge}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
TIMEFORMAT='%R %U %S'

two_sims() {
    "$anyedge" sim -q "$file" --seed 1 --csv "$folder/1.csv" >/dev/null &
    "$anyedge" sim -q "$file" --seed 2 --csv "$folder/2.csv" >/dev/null &
    wait
}
one_sweep() {
    rm -rf "$folder/runs"
    "$anyedge" sweep -q "$file" --seeds 1..2 --jobs 2 --out "$folder/runs" >/dev/null || true
}
# Wall and CPU seconds of a command.
measured() { { time "$1" 2>/dev/null; } 2>&1 | awk '{ printf "%.3f %.3f\n", $1, $2 + $3 }'; }
median() { sort -n | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }

for round in $(seq "$rounds"); do
    measured two_sims >>"$folder/sims"
    measured one_sweep >>"$folder/sweeps"
    echo "round $round: two sims $(tail -n 1 "$folder/sims"), sweep $(tail -n 1 "$folder/sweeps") (wall s, CPU s)"
done
for column in 1 2; do
    sims=$(awk -v at=$column '{ print $at }' "$folder/sims" | median)
    sweep=$(awk -v at=$column '{ print $at }' "$folder/sweeps" | median)
    what=$([ $column = 1 ] && echo wall || echo CPU)
    awk -v what="$what" -v one="$sims" -v other="$sweep" \
        'BEGIN { printf "%s: two sims %.2f s, sweep %.2f s, ratio %.3f\n", what, one, other, one / other }'
done
