# A hundred thousand of each on all cores: does the tick end in time, and does /health stay as fast? Sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

scale() {
    quiet
    many_nodes
    many_locks
}

# health NAME [ADDRESS]: a request a millisecond.
health() {
    local p50 p99 max
    read -r p50 p99 max <<<"$("$programs/examples/bench_events" latency "${2:-$address}" /health "$((QUICK ? 1000 : 5000))")"
    result "$1.p50" "$p50"
    result "$1.p99" "$p99"
    result "$1.max" "$max"
}

quiet() {
    local round
    say '/health of a service with nothing to do, a request a millisecond'
    serve 0,1 "$work/quiet.db"
    await 30 'an idle service' answers "http://$address/readyz"
    for ((round = 0; round < ROUNDS; round++)); do health scale.quiet; done
    stop "$warden"
}

# beside NAME: of the service, in turns with one that has nothing to do on the same machine at the same time.
beside() {
    local busy=$address busy_pid=$warden round
    serve 0,1 "$work/beside.db"
    await 30 'an idle service' answers "http://$address/readyz"
    for ((round = 0; round < ROUNDS; round++)); do
        health "$1" "$busy"
        health "$1.beside"
    done
    stop "$warden"
    address=$busy warden=$busy_pid
}

many_nodes() {
    local count=$((QUICK ? 2000 : 100000)) up silent
    say "$count nodes each 30 s: 80 % answer, 10 % refuse, 10 % say nothing"
    targets 1000
    silent=$((target + 1))
    fill "$work/nodes.db" "$count"
    free_port # nobody listens there
    sqlite3 -bail "$work/nodes.db" "
        UPDATE procwarden_nodes SET host = '127.0.0.1', port = $port WHERE id % 10 = 8;
        UPDATE procwarden_nodes SET host = '127.0.0.1', port = $silent WHERE id % 10 = 9"
    serve 0,1 "$work/nodes.db"
    await 120 'all nodes to be known' answers "http://$address/readyz"
    # The first pass may be slow: everything is new. What counts is the third.
    sleep "$((QUICK ? 35 : 75))"
    beside scale.nodes
    up=$(curl -s "http://$address/health" | sed 's/.*"working":\([0-9]*\).*/\1/')
    result scale.nodes.up_share "$(calc "100 * $up / $count")"
    result scale.nodes.tick_ms "$(curl -s "http://$address/instances" | sed 's/.*"tick_ms": *\([0-9]*\).*/\1/')"
    result scale.nodes.late_ms "$(curl -s "http://$address/readyz?verbose" | sed 's/.*"nodes_lag_ms": *\([0-9]*\).*/\1/')"
    result scale.nodes.cpu_share "$(busy "$warden" 10)"
    result memory.nodes100k "$(resident "$warden")"
    result memory.nodes100k.connections "$(connections "$warden")"
    stop "$warden"
    stop "$target_pid"
}

many_locks() {
    local count=$((QUICK ? 2000 : 100000)) dir=$work/scale-locks
    say "$count locks each 10 s that share 100 processes"
    mkdir "$dir"
    helper "$programs/examples/bench_events" hold "$dir" "$count" 100
    serve 0,1 "$work/many.db" PROCWARDEN__MIGRATIONS__LOCK_DIR="$dir"
    await 120 'all locks to be known' watches "$count"
    sleep "$((QUICK ? 5 : 25))"
    beside scale.locks
    result scale.locks.cpu_share "$(busy "$warden" 20)"
    # Past its time nothing is believed: /readyz would say 503.
    result scale.locks.fresh "$(answers "http://$address/readyz" && echo 100 || echo 0)"
    result memory.locks100k "$(resident "$warden")"
    stop "$warden"
    dismiss
    rm -rf "$dir"
}

# busy PID SECONDS: percent of one core that it uses.
busy() {
    local before
    before=$(cpu "$1")
    sleep "$((QUICK ? 2 : $2))"
    calc "($(cpu "$1") - $before) / $((QUICK ? 2 : $2))"
}
