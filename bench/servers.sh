# Sourced by the scripts beside it: throwaway PostgreSQL (fsync off) and Redis, and what asks them.
DIR=${DIR:-/tmp/redis-connect-bench} PORT=${PORT:-15710} REDIS=${REDIS:-15711}
PROGRAM=${PROGRAM:-target/release/redis-connect-postgres}
PG=${PG:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
URL=postgresql://postgres@127.0.0.1:$PORT/postgres
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
sql() { "$PG/psql" -qAtX "$URL" -c "$1"; }
redis() { redis-cli -p "$REDIS" "$@"; }
now() { echo "${EPOCHREALTIME/./}"; }

start_servers() {
    mkdir -p "$DIR" && chmod 777 "$DIR"
    as_postgres "$PG/initdb" -D "$DIR/pg" -A trust -U postgres >"$DIR/initdb.log"
    as_postgres "$PG/pg_ctl" -D "$DIR/pg" -l "$DIR/pg.log" -w start -o "-p $PORT -k $DIR -c wal_level=logical \
        -c fsync=off -c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=1h" >/dev/null
    redis-server --port "$REDIS" --save "" --appendonly no --daemonize yes --dir "$DIR" --logfile "$DIR/redis.log" \
        --pidfile "$DIR/redis.pid" >/dev/null
}

stop_servers() {
    redis SHUTDOWN NOSAVE || true
    as_postgres "$PG/pg_ctl" -D "$DIR/pg" -m immediate stop >/dev/null || true
    rm -rf "$DIR"
}

# Connections that stay open, for `commit` and `wait_in_redis`.
connect() {
    coproc SQL { exec "$PG/psql" -qAtX "$URL"; }
    exec 4>&"${SQL[1]}" 5<&"${SQL[0]}"
    exec 3<>"/dev/tcp/127.0.0.1/$REDIS"
}

commit() { # SQL
    local answer
    echo "$1; SELECT 1;" >&4
    read -r answer <&5
}

wait_in_redis() { # KEY
    local answer
    while :; do
        printf 'EXISTS %s\r\n' "$1" >&3
        read -r answer <&3
        [[ $answer != :1* ]] || return 0
    done
}

# Of numbers in µs, one a line.
quantiles() {
    sort -n | awk '{ v[NR] = $1 / 1000 } END { printf "%d, p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, longest %.1f ms\n",
        NR, v[int(NR * .5) + 1], v[int(NR * .9) + 1], v[int(NR * .99) + 1], v[NR] }'
}

create_table() {
    sql "CREATE TABLE t (id int PRIMARY KEY, a text, b int, c text, d int, e text, f int, g text, h int, i text)"
}

# Ten columns, in transactions of 1,000 rows.
write_backlog() { # ROWS
    sql "DO \$\$ BEGIN FOR n IN 0..$(($1 / 1000 - 1)) LOOP
             INSERT INTO t SELECT n * 1000 + k, 'a' || k, k, 'some text of row ' || k, k, 'e' || k, k, 'more ' || k, k,
                 md5(k::text) FROM generate_series(1, 1000) k;
             COMMIT; END LOOP; END \$\$"
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
