#!/bin/bash
# How long changes stay away when the instance at work is lost and a second one waits: from the loss to the first change
# committed after it in Redis, REPEAT times (20).
#
#   bench/takeover.sh killed      kill -9: its connections are closed
#   bench/takeover.sh vanished    SIGSTOP: its connections stay open, and nothing comes over them
#
# PROGRAM, DIR, PG: see servers.sh.
set -euo pipefail
REPEAT=${REPEAT:-20}
. "$(dirname "$0")/servers.sh"
case ${1:-} in
    killed) signal=KILL ;;
    vanished) signal=STOP ;;
    *) sed -n '2,8p' "$0"; exit 2 ;;
esac

run() { # NUMBER
    "$PROGRAM" run -c "$DIR/config.yaml" >"$DIR/connector$1.log" 2>&1 &
    pids[$1]=$!
    disown
}

start_servers
trap 'kill -9 "${pids[@]}" 2>/dev/null || true; stop_servers >/dev/null' EXIT
sql "CREATE TABLE probe (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v text);
     INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 100000) i"
cat >"$DIR/config.yaml" <<EOF
name: takeover
source: { url: "$URL" }
target: { url: "redis://127.0.0.1:$REDIS" }
EOF
connect
pids=()
run 0
until grep -q "streaming from" "$DIR/connector0.log"; do sleep 0.1; done
for n in $(seq 1 "$REPEAT"); do
    run "$n"
    until grep -q "waiting to take over" "$DIR/connector$n.log"; do sleep 0.1; done
    commit "INSERT INTO probe VALUES (-$n)"
    wait_in_redis "probe:-$n"
    # At any moment of the heartbeats.
    sleep "0.$((RANDOM % 900 + 100))"
    began=$(now)
    kill -$signal "${pids[$((n - 1))]}"
    commit "INSERT INTO probe VALUES ($n)"
    wait_in_redis "probe:$n"
    echo $(($(now) - began)) >>"$DIR/times"
    kill -9 "${pids[$((n - 1))]}" 2>/dev/null || true
    unset "pids[$((n - 1))]"
done
echo "$1: $(quantiles <"$DIR/times")"
