#!/bin/bash
# Tries sweep.sbatch on this machine alone: Slurm and munge with a configuration of their own in a temporary folder, an array
# of four shards of which the first is killed in mid-flight and the last cancelled, the array again, and then whether the files
# are those of one sweep.
#
#   sudo deploy/slurm/try.sh [PATH OF anyedge]
#
# Needs root and Debian's slurm-wlm. Everything that it starts is ended by its process id, also when it fails.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
anyedge=$(realpath "${1:-$root/target/release/anyedge}")
for program in munged slurmctld slurmd sbatch "$anyedge"; do
    if ! command -v "$program" >/dev/null; then
        echo "there is no $program: apt-get install slurm-wlm, cargo build --release" >&2
        exit 2
    fi
done
if [ "$(id -u)" -ne 0 ]; then
    echo "only root may run munged and slurmd with a configuration of their own" >&2
    exit 2
fi

folder=$(mktemp -d /tmp/anyedge-slurm.XXXXXX)
chmod 755 "$folder"
pids=()
clean_up() {
    code=$?
    trap - EXIT INT TERM
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill "${pids[at]}" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    if [ "$code" -ne 0 ]; then
        tail -n 20 "$folder"/*.log >&2 || true
    fi
    rm -rf "$folder"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# Waits for something that is to be in half a minute.
await() {
    what=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "no $what within 30 s" >&2
    exit 3
}

dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
chmod 400 "$folder/munge.key"
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.sock" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>"$folder/munged.err.log" &
pids+=($!)
await "munge" munge --no-input --socket="$folder/munge.sock"

node=$(hostname -s)
mkdir "$folder/state" "$folder/spool"
cat >"$folder/slurm.conf" <<CONF
ClusterName=anyedge
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.sock
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
printf 'IgnoreSystemd=yes\n' >"$folder/cgroup.conf"
export SLURM_CONF="$folder/slurm.conf"
slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D -N "$node" -f "$SLURM_CONF" >"$folder/slurmd.log" 2>&1 &
pids+=($!)
is_idle() { [ "$(sinfo --noheader --format=%t)" = idle ]; }
await "idle node" is_idle

sweep=("$root/topologies/two-pops.toml" --duration 5s --seeds 1..20 --set "link.tokyo-guangzhou.loss=0,1%" -q)
export ANYEDGE="$anyedge"
cd "$folder"
submit() {
    sbatch --parsable --array=1-4 "$root/deploy/slurm/sweep.sbatch" "${sweep[@]}" --out "$folder/runs"
}
count() { find "$folder/$1" -name '*.parquet' | wc -l; }
has_some() { [ "$(count runs)" -ge "$1" ]; }
is_over() { [ -z "$(squeue --noheader)" ]; }
wait_for_all() {
    for _ in $(seq 3000); do
        if is_over; then return; fi
        sleep 0.1
    done
    echo "the array is still there after 300 s" >&2
    exit 3
}

job=$(submit)
await "first run" has_some 2
scancel --signal=KILL "${job}_1"
scancel "${job}_4"
wait_for_all
echo "array $job, the first of four shards killed in mid-flight, the last cancelled: $(count runs) of 40 runs"
[ "$(count runs)" -lt 40 ]
job=$(submit)
wait_for_all
echo "array $job, the same again: $(count runs) of 40 runs"
cat "$folder/anyedge-sweep-${job}"_*.log | grep -F ' made in '
if grep -l 'JobState=FAILED' <(scontrol show job "$job") >/dev/null; then
    scontrol show job "$job" >&2
    exit 3
fi
"$anyedge" sweep "${sweep[@]}" --out "$folder/alone" | grep -F -e ' made in ' -e Verdict
diff -r --exclude='.*' "$folder/alone" "$folder/runs"
echo "the files of both are the same to the byte"
