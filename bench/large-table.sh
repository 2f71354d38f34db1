#!/bin/bash
# A large table is read again and compared, without and with load: rows a second, memory, and how long changes of
# another table take to Redis meanwhile.
#
#   bench/large-table.sh start            throwaway PostgreSQL (fsync off) and Redis, ROWS rows, the first snapshot
#   bench/large-table.sh again [load]     snapshot TABLE
#   bench/large-table.sh verify [load]
#   bench/large-table.sh stop
#
# ROWS (10000000), RATE of the load in transactions a second (1000), EVENTS=1 adds a stream output; PROGRAM, DIR, PG:
# see servers.sh.
set -euo pipefail
ROWS=${ROWS:-10000000} RATE=${RATE:-1000} EVENTS=${EVENTS:-}
. "$(dirname "$0")/servers.sh"
is_read() { [[ $(redis HGET redis-connect-postgres:large:checkpoint table:public.t) == *'"complete":true'* ]]; }

start() {
    start_servers
    sql "CREATE TABLE t (id bigint PRIMARY KEY, a int, b int, n numeric, s text, u text, at timestamptz, ok bool);
         CREATE TABLE probe (id int PRIMARY KEY); CREATE TABLE other (id bigint PRIMARY KEY, v int);
         INSERT INTO t SELECT i, i % 1000, i / 7, i * 1.25, 'some text ' || i, md5(i::text), now(), i % 2 = 0
           FROM generate_series(1, $ROWS) i"
    sql "VACUUM ANALYZE t"
    local output="{ type: hash }"
    [ -z "$EVENTS" ] || output="[{ type: hash }, { type: stream, key: events, max_len: 100000 }]"
    cat >"$DIR/config.yaml" <<EOF
name: large
source: { url: "$URL" }
target: { url: "redis://127.0.0.1:$REDIS" }
tables:
  public.t: $output
  public.probe: { type: hash }
  public.other: { type: hash }
EOF
    local began; began=$(now)
    run_connector
    until is_read; do sleep 0.2; done
    echo "first snapshot: $(( ($(now) - began) / 1000000 )) s; Redis $(redis INFO memory | grep ^used_memory_human | tr -d '\r')"
}

run_connector() {
    nohup "$PROGRAM" run -c "$DIR/config.yaml" >>"$DIR/connector.log" 2>&1 & echo $! >"$DIR/connector.pid"
}

# Updates of the table, and rows that come and go in it and in another one.
load() {
    cat >"$DIR/load.sql" <<EOF
\\set id random(1, $ROWS)
\\set new random($ROWS, 2000000000)
BEGIN; UPDATE t SET a = a + 1 WHERE id = :id; INSERT INTO t (id, a) VALUES (:new, 1) ON CONFLICT (id) DO UPDATE SET a = 0;
DELETE FROM t WHERE id = :id + 1; INSERT INTO other VALUES (:new, 1) ON CONFLICT (id) DO UPDATE SET v = other.v + 1; COMMIT;
EOF
    "$PG/pgbench" -n -c 2 -T 3600 -P 5 -R "$RATE" -f "$DIR/load.sql" "$URL" >"$DIR/pgbench.log" 2>&1 & LOAD=$!
    sleep 3
}

# Rows of another table, one every 50 ms: how long each takes from the answer to COMMIT to Redis, in µs.
probe() {
    connect
    local id began
    id=$(( $(sql "SELECT coalesce(max(id), 0) FROM probe") ))
    while [ -e "$DIR/probing" ]; do
        id=$((id + 1))
        commit "INSERT INTO probe VALUES ($id)"
        began=$(now)
        wait_in_redis "probe:$id"
        echo $(( $(now) - began ))
        sleep 0.05
    done
}

measured() {
    local with=$1; shift
    local LOAD=
    [ "$with" != load ] || load
    pid=$(cat "$DIR/connector.pid")
    echo 5 >"/proc/$pid/clear_refs" 2>/dev/null || true
    touch "$DIR/probing"; probe >"$DIR/latencies" & local probing=$!
    local began; began=$(now)
    "$@"
    local took=$(( $(now) - began ))
    rm "$DIR/probing"; wait "$probing"
    [ -z "$LOAD" ] || { kill "$LOAD"; wait "$LOAD" 2>/dev/null || true; tail -1 "$DIR/pgbench.log" || true; }
    echo "${*} $with: $((took / 1000)) ms, $(( ROWS * 1000 / (took / 1000) )) rows/s"
    echo "connector: peak $(awk '/VmHWM/ { print $2 }' "/proc/$pid/status") kB"
    echo "rows of another table meanwhile: $(quantiles <"$DIR/latencies")"
}

again() { "$PROGRAM" snapshot -c "$DIR/config.yaml" t; }
verify() {
    local code=0
    "$PROGRAM" verify -c "$DIR/config.yaml" >"$DIR/verify.log" 2>&1 & local verifying=$! peak=0
    while kill -0 "$verifying" 2>/dev/null; do
        peak=$(awk '/VmHWM/ { print $2 }' "/proc/$verifying/status" 2>/dev/null) && [ -n "$peak" ] && echo "$peak" >"$DIR/peak" || true
        sleep 0.1
    done
    wait "$verifying" || code=$?
    echo "verify: exit $code, peak $(cat "$DIR/peak") kB; $(tail -1 "$DIR/verify.log")"
}

stop() {
    kill "$(cat "$DIR/connector.pid")" 2>/dev/null || true
    sleep 1
    stop_servers
}

case ${1:-} in
    start | stop) "$1" ;;
    again | verify) measured "${2:-}" "$1" ;;
    restart) kill "$(cat "$DIR/connector.pid")"; sleep 2; run_connector ;;
    *) sed -n '2,12p' "$0"; exit 2 ;;
esac
