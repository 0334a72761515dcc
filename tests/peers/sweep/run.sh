#!/bin/bash
# A sweep of two seeds by two jobs against two `anyedge sim` side by side, in turn: CPU seconds of both, and wall seconds.
#
#   tests/peers/sweep/run.sh [TOPOLOGY] [ROUNDS] [PATH OF anyedge]
#
# CPU seconds are user + sys of all processes, start-up and results included. A ratio is what two processes take over what the
# sweep takes right before or after them.
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
    # Each is the first as often as the second.
    if [ $((round % 2)) = 1 ]; then
        sims=$(measured two_sims)
        sweep=$(measured one_sweep)
    else
        sweep=$(measured one_sweep)
        sims=$(measured two_sims)
    fi
    echo "$sims $sweep" >>"$folder/rounds"
    echo "round $round: two sims $sims, sweep $sweep (wall s, CPU s)"
done
ratio_of() { awk -v one="$1" -v other="$2" '{ print $one / $other }' "$folder/rounds" | median; }
echo "median of the rounds' ratios: CPU $(ratio_of 2 4), wall $(ratio_of 1 3)"
