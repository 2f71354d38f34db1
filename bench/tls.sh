#!/bin/bash
# The rate of a backlog with TLS to PostgreSQL and without, of one or several programs, by turns.
#
#   bench/tls.sh [PROGRAM...]     by default PROGRAM of servers.sh
#
# ROWS (1000000) rows of ten columns in transactions of 1,000, hash output, REPEAT times (5) each. Prints the median rate,
# own CPU a row and how often the process waited (voluntary context switches a thousand rows). Needs openssl and GNU time.
# PROGRAM, DIR, PG: see servers.sh.
set -euo pipefail
ROWS=${ROWS:-1000000} REPEAT=${REPEAT:-5}
. "$(dirname "$0")/servers.sh"
[[ $# -gt 0 ]] || set -- "$PROGRAM"

serve_tls() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost \
        -keyout "$DIR/pg/server.key" -out "$DIR/pg/server.crt" 2>"$DIR/openssl.log"
    [[ $(id -u) != 0 ]] || chown postgres "$DIR"/pg/server.{key,crt}
    chmod 600 "$DIR/pg/server.key"
    sql "ALTER SYSTEM SET ssl = on"
    sql "SELECT pg_reload_conf()" >/dev/null
    until sql "SHOW ssl" | grep -q on; do sleep 0.1; done
}

connector() { # PROGRAM SSLMODE RUN
    cat >"$DIR/config.yaml" <<CONFIG
name: ${2}_$3
source: { url: "$URL?sslmode=$2" }
target: { url: "redis://127.0.0.1:$REDIS" }
CONFIG
    /usr/bin/time -o "$DIR/time" -f "%U %S %w" "$1" run -c "$DIR/config.yaml" --until-caught-up >"$DIR/connector.log" 2>&1
}

start_servers
trap 'stop_servers >/dev/null' EXIT
serve_tls
create_table
variants=()
for index in $(seq 1 $#); do
    for mode in disable require; do variants+=("$index $mode"); done
done
for n in $(seq 1 "$REPEAT"); do
    for variant in "${variants[@]}"; do
        read -r index mode <<<"$variant"
        redis FLUSHALL >/dev/null
        sql "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" >/dev/null
        connector "${!index}" "$mode" "${index}_$n"
        write_backlog "$ROWS"
        began=$(now)
        connector "${!index}" "$mode" "${index}_$n"
        took=$(($(now) - began))
        keys=$(redis DBSIZE)
        [[ $keys -ge $ROWS ]] || { echo "$keys keys of $ROWS rows"; exit 1; }
        read -r user system waits <"$DIR/time"
        awk -v rows="$ROWS" -v us="$took" -v cpu="$user $system" -v waits="$waits" 'BEGIN { split(cpu, c, " ");
            printf "%d %.2f %.1f\n", rows * 1e6 / us, (c[1] + c[2]) * 1e6 / rows, waits * 1e3 / rows }' >>"$DIR/$index-$mode"
        sql "TRUNCATE t" >/dev/null
    done
done
for variant in "${variants[@]}"; do
    read -r index mode <<<"$variant"
    file=$DIR/$index-$mode
    echo "${!index} sslmode=$mode: $(cut -d' ' -f1 "$file" | median) rows/s, $(cut -d' ' -f2 "$file" | median) µs of own CPU a row," \
        "$(cut -d' ' -f3 "$file" | median) waits a thousand rows ($(cut -d' ' -f1 "$file" | tr '\n' ' '))"
done
