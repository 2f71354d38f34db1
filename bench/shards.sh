#!/bin/bash
# The rate of a backlog by the number of shards, where Redis is the limit: each shard of a Redis Cluster may use SHARE
# percent (15) of a core, by a control group, so that this needs root and Linux, and few cores can do for many shards.
#
#   bench/shards.sh [NUMBER...]     by default 1 2 3 4
#
# ROWS (1000000) rows of ten columns in transactions of 1,000, hash output, REPEAT times (5) each; the median.
# PROGRAM, DIR, PG: see servers.sh.
set -euo pipefail
ROWS=${ROWS:-1000000} REPEAT=${REPEAT:-5} SHARE=${SHARE:-15}
. "$(dirname "$0")/servers.sh"
[[ $# -gt 0 ]] || set -- 1 2 3 4

# Of version 1 or 2. A quota is at least a millisecond; in short periods, so that shards are slow rather than asleep by turns.
limit() { # PID
    local name=redis-connect-bench-$1
    if [[ -d /sys/fs/cgroup/cpu ]]; then
        groups+=("/sys/fs/cgroup/cpu/$name")
        mkdir "/sys/fs/cgroup/cpu/$name"
        echo 10000 >"/sys/fs/cgroup/cpu/$name/cpu.cfs_period_us"
        echo $((SHARE * 100)) >"/sys/fs/cgroup/cpu/$name/cpu.cfs_quota_us"
    else
        groups+=("/sys/fs/cgroup/$name")
        mkdir "/sys/fs/cgroup/$name"
        echo "$((SHARE * 100)) 10000" >"/sys/fs/cgroup/$name/cpu.max"
    fi
    echo "$1" >"${groups[-1]}/cgroup.procs"
}

shard() { # INDEX, ARGUMENTS...
    local port=$((REDIS + $1))
    shift
    redis-cli -p "$port" "$@"
}

start_shards() { # NUMBER
    local i
    for ((i = 1; i <= $1; i++)); do
        mkdir -p "$DIR/shard$i"
        redis-server --port $((REDIS + i)) --cluster-enabled yes --save "" --appendonly no --daemonize yes \
            --dir "$DIR/shard$i" --logfile redis.log --pidfile "$DIR/shard$i/redis.pid" >/dev/null
    done
    for ((i = 1; i <= $1; i++)); do
        until shard "$i" PING >/dev/null 2>&1; do sleep 0.05; done
        shard "$i" CLUSTER ADDSLOTSRANGE $((16384 * (i - 1) / $1)) $((16384 * i / $1 - 1)) >/dev/null
        shard "$i" CLUSTER MEET 127.0.0.1 $((REDIS + 1)) >/dev/null
    done
    for ((i = 1; i <= $1; i++)); do
        until shard "$i" CLUSTER INFO | grep -q "cluster_state:ok" &&
            [[ $(shard "$i" CLUSTER NODES | wc -l) -eq $1 ]]; do sleep 0.1; done
    done
}

stop_shards() {
    local file group
    for file in "$DIR"/shard*/redis.pid; do
        [[ -e $file ]] || continue
        kill "$(<"$file")"
        while [[ -e $file ]]; do sleep 0.05; done
    done
    for group in "${groups[@]}"; do
        until rmdir "$group" 2>/dev/null; do sleep 0.05; done
    done
    groups=()
    rm -rf "$DIR"/shard*
}

groups=()
start_servers
trap 'stop_shards; stop_servers >/dev/null' EXIT
create_table
for number in "$@"; do
    rates=()
    for n in $(seq 1 "$REPEAT"); do
        start_shards "$number"
        cat >"$DIR/config.yaml" <<EOF
name: shards
source: { url: "$URL" }
target: { url: "redis-cluster://127.0.0.1:$((REDIS + 1))" }
EOF
        "$PROGRAM" run -c "$DIR/config.yaml" --until-caught-up >"$DIR/connector.log" 2>&1
        write_backlog "$ROWS"
        for file in "$DIR"/shard*/redis.pid; do limit "$(<"$file")"; done
        began=$(now)
        "$PROGRAM" run -c "$DIR/config.yaml" --until-caught-up >"$DIR/connector.log" 2>&1
        rates+=($((ROWS * 1000000 / ($(now) - began))))
        keys=0
        for i in $(seq 1 "$number"); do keys=$((keys + $(shard "$i" DBSIZE))); done
        [[ $keys -ge $ROWS ]] || { echo "$keys keys of $ROWS rows"; exit 1; }
        stop_shards
        sql "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" >/dev/null
        sql "TRUNCATE t" >/dev/null
    done
    echo "$number shards: $(printf '%s\n' "${rates[@]}" | median) rows/s (${rates[*]})"
done
