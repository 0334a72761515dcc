#!/bin/bash
# The simulator beside ns-3 on the same dumbbells: both run in turn, one table at the end.
# shellcheck disable=SC2016  # $1 in single quotes is a column of awk's.
set -u

here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../../..")

usage() {
    cat <<'END'
Runs topologies/bench/dumbbell-udp.toml and dumbbell-tcp.toml by anyedge and their counterpart (dumbbell.cc) by ns-3, in
turn, and prints medians: packet-hops and connections per CPU second, peak memory, and anyedge's over ns-3's.

  tests/peers/ns3/run.sh [OPTIONS] [-- ARGUMENTS OF dumbbell]

  --kind udp|tcp|both   which dumbbell (both)
  --rounds N            runs of each program (3)
  --seconds S           simulated seconds for which clients send, of both programs (as the topologies have it: 120 and 100)
  --limit S             wall seconds that one run may take (1800)
  --anyedge PATH        the binary (default: $ANYEDGE, else a release build of this checkout)
  --install             install what is missing by apt-get: libns3-dev, g++, pkg-config (needs root)
  --help                this

ns-3 is found by pkg-config; PKG_CONFIG_PATH=PREFIX/lib/pkgconfig takes one of your own in the place of Debian's.
Nothing is installed without --install. Everything that is built goes into a scratch folder that is removed at the end,
but for anyedge itself, which cargo keeps in its target folder.

  tests/peers/ns3/run.sh --install --kind udp --rounds 1 --seconds 10     # half a minute, to see whether it works
  tests/peers/ns3/run.sh                                                  # about an hour on a quiet machine, most of it ns-3
  tests/peers/ns3/run.sh --kind udp -- --tunnel                           # ns-3 with GRE between routers and hosts
  PKG_CONFIG_PATH=$HOME/ns3/lib/pkgconfig tests/peers/ns3/run.sh --kind udp

Exit codes: 0 both ran and answered everything, 2 something is missing or an argument makes no sense, 3 a run failed or took
longer than --limit.
END
}

complain() { echo "run.sh: $1" >&2; exit "$2"; }
is_whole() { [[ $1 =~ ^[1-9][0-9]{0,5}$ ]]; }

kinds="udp tcp"; rounds=3; seconds=; limit=1800; install=; anyedge=${ANYEDGE:-}
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --install) install=yes; shift; continue ;;
        --) shift; break ;;
        --kind | --rounds | --seconds | --limit | --anyedge) ;;
        *) complain "no option is called $1; --help tells them" 2 ;;
    esac
    [ $# -ge 2 ] || complain "$1 wants a value" 2
    case $1 in
        --kind)
            case $2 in
                udp | tcp) kinds=$2 ;;
                both) ;;
                *) complain "--kind is udp, tcp or both, not $2" 2 ;;
            esac ;;
        --anyedge) anyedge=$2 ;;
        *) is_whole "$2" || complain "$1 wants a whole number above 0, not $2" 2
            declare "${1#--}=$2" ;;
    esac
    shift 2
done

modules="ns3-internet ns3-nix-vector-routing ns3-point-to-point ns3-virtual-net-device"
missing() {
    command -v g++ >/dev/null || echo g++
    command -v pkg-config >/dev/null || { echo "pkg-config libns3-dev"; return; }
    # shellcheck disable=SC2086
    pkg-config --exists $modules || echo libns3-dev
}
wanted=$(missing)
wanted=${wanted//$'\n'/ }
if [ -n "$wanted" ] && [ "$install" = yes ]; then
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted >&2 \
        || complain "apt-get could not install $wanted; it needs root, and 'apt-get update' before" 2
    wanted=$(missing)
fi
if [ -n "$wanted" ]; then
    echo "run.sh: NOTHING WAS MEASURED: this machine lacks $wanted." >&2
    echo "run.sh: install them with 'apt-get install $wanted', or call this script with --install." >&2
    exit 2
fi

[ -z "$anyedge" ] || [ -x "$anyedge" ] || complain "there is no program $anyedge" 2
scratch=$(mktemp -d) || complain "no scratch folder can be made" 3
running=
# `measure` takes the program that it runs along.
clean() { [ -z "$running" ] || kill "$running" 2>/dev/null; rm -rf "$scratch"; }
trap clean EXIT
trap 'exit 3' INT TERM HUP

# What pkg-config names with a path is for static linking, and Debian's package does not bring it along.
# shellcheck disable=SC2046,SC2086
build() {
    local folders folder paths=()
    folders=$(pkg-config --libs-only-L $modules)
    for folder in $folders; do paths+=("-Wl,-rpath,${folder#-L}"); done
    g++ -std=c++20 -O3 -o "$scratch/dumbbell" "$here/dumbbell.cc" $(pkg-config --cflags $modules) \
        $folders "${paths[@]}" $(pkg-config --libs-only-l $modules) \
        && g++ -std=c++20 -O2 -o "$scratch/measure" "$here/measure.cc"
}
build || complain "the counterpart cannot be built" 3
if [ -z "$anyedge" ]; then
    (cd "$root" && cargo build --release --bin anyedge) >&2 || complain "anyedge cannot be built" 3
    anyedge=${CARGO_TARGET_DIR:-$root/target}/release/anyedge
fi

# measured NAME PROGRAM [ARGUMENTS..]: what it prints goes to NAME.out, what it cost to NAME.cost.
measured() {
    local name=$1 status=0
    shift
    "$scratch/measure" "$limit" "$scratch/$name.cost" "$@" >"$scratch/$name.out" 2>"$scratch/$name.err" &
    running=$!
    wait "$running" || status=$?
    running=
    [ "$status" = 124 ] && complain "$1 took longer than $limit s; --seconds makes it shorter, --limit gives it more" 3
    if [ "$status" != 0 ]; then
        tail -n 20 "$scratch/$name.err" "$scratch/$name.out" >&2
        complain "$1 ended with $status" 3
    fi
}
# value KEY FILE: of lines `key=value`.
value() { sed -n "s/^$1=//p" "$2"; }
# figure OBJECT METRIC: of the CSV that anyedge wrote.
figure() { awk -F, -v object="$1" -v metric="$2" '$6 == object && $7 == metric { print $8 }' "$scratch/anyedge.csv"; }

# Each adds a line `hops requests cpu wall rss` to its file.
run_anyedge() {
    local file=$root/topologies/bench/dumbbell-$1.toml length=()
    [ -z "$seconds" ] || length=(--set "duration=${seconds}s")
    measured anyedge "$anyedge" sim -q "$file" "${length[@]}" --csv "$scratch/anyedge.csv"
    echo "$(figure run packet_hops) $(figure client.load requests.ok) $(costs anyedge)" >>"$scratch/anyedge.$1"
}
run_ns3() {
    local kind=$1
    shift
    measured ns3 "$scratch/dumbbell" --kind="$kind" --seconds="${seconds:-0}" "$@"
    echo "$(value packet_hops "$scratch/ns3.out") $(value ok "$scratch/ns3.out") $(costs ns3)" >>"$scratch/ns3.$kind"
}
costs() { echo "$(value cpu_s "$scratch/$1.cost") $(value wall_s "$scratch/$1.cost") $(value rss_kib "$scratch/$1.cost")"; }

# median FILE EXPRESSION: of awk's EXPRESSION over the file's lines.
median() {
    awk "{ print $2 }" "$1" | sort -g | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'
}
row() {
    local file=$scratch/$1.$2
    printf '%-4s %-9s %11.0f %9.0f %8.2f %8.2f %11.0f %15.0f %8.1f\n' "$2" "$1" "$(median "$file" '$1')" "$(median "$file" '$2')" \
        "$(median "$file" '$3')" "$(median "$file" '$4')" "$(median "$file" '$1 / $3')" "$(median "$file" '$2 / $3')" \
        "$(median "$file" '$5 / 1024')"
}
ratio() { awk -v one="$(median "$scratch/anyedge.$1" "$2")" -v other="$(median "$scratch/ns3.$1" "$2")" 'BEGIN { print one / other }'; }

for kind in $kinds; do
    for round in $(seq "$rounds"); do
        # Each is the first as often as the second.
        if [ $((round % 2)) = 1 ]; then
            run_anyedge "$kind"; run_ns3 "$kind" "$@"
        else
            run_ns3 "$kind" "$@"; run_anyedge "$kind"
        fi
        echo "$kind, round $round of $rounds: CPU s of anyedge $(value cpu_s "$scratch/anyedge.cost"), of ns-3 $(value cpu_s "$scratch/ns3.cost")" >&2
    done
done

echo "ns-3 $(pkg-config --modversion ns3-core), medians of $rounds, CPU seconds of the whole process; requests are ticks (udp) or connections (tcp)"
printf '%-4s %-9s %11s %9s %8s %8s %11s %15s %8s\n' kind program hops requests 'CPU s' 'wall s' 'hops/CPU s' 'requests/CPU s' 'RSS MiB'
for kind in $kinds; do
    row anyedge "$kind"
    row ns3 "$kind"
    printf '%-4s anyedge/ns-3: hops per CPU second %.1f, requests per CPU second %.1f, memory %.2f\n' "$kind" \
        "$(ratio "$kind" '$1 / $3')" "$(ratio "$kind" '$2 / $3')" "$(ratio "$kind" '$5')"
done
