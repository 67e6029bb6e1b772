# A death until a reader knows of it; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

events() {
    local processes=$((QUICK ? 200 : 10000)) deaths=$((QUICK ? 50 : 500)) dir=$work/events-locks
    say "$processes processes with a lock each, $deaths of them killed"
    mkdir "$dir"
    helper taskset -c "$load_core" "$programs/examples/bench_events" hold "$dir" "$processes" "$processes"
    serve "$server_core" "$work/events.db" PROCWARDEN__MIGRATIONS__LOCK_DIR="$dir"
    await 60 "$processes locks" watches "$processes"
    if [[ $(curl -s -o /dev/null -m 1 -w '%{http_code}' "http://$address/events") != 200 ]]; then
        missing 'there is no /events'
    elif ask deaths "$address" "$deaths"; then
        local p50 p99 max told50 told99 told
        read -r p50 p99 max told50 told99 told <<<"$answer"
        result events.p50 "$p50"
        result events.p99 "$p99"
        result events.max "$max"
        result events.told.p50 "$told50"
        result events.told.p99 "$told99"
        result events.told.max "$told"
        # Peers look every so often, so on average they are late by half of it; the shortest default is procwarden's own.
        result events.polling "$((10 * 1000000 / 2))"
    else
        missing "no line came: $(tail -n 1 "$work/helper.log")"
    fi
    stop "$warden"
    dismiss
    rm -rf "$dir"
    watched "$processes"
}

# watched COUNT: what a process costs that is watched, against as many locks that share few.
watched() {
    local few=$((QUICK ? 10 : 100)) processes where=on dir=$work/watched-locks
    for processes in "$1" "$few"; do
        rm -rf "$dir" "$work"/watched.db*
        mkdir "$dir"
        helper taskset -c "$load_core" "$programs/examples/bench_events" hold "$dir" "$1" "$processes"
        serve "$server_core" "$work/watched.db" PROCWARDEN__MIGRATIONS__LOCK_DIR="$dir"
        await 60 "$1 locks" watches "$1"
        result "memory.watched.$where" "$(resident "$warden")"
        where=off
        stop "$warden"
        dismiss
    done
    result memory.watched.count "$(($1 - few))"
    rm -rf "$dir"
}

# watches COUNT: are so many locks known to the service?
watches() { curl -s -m 5 "http://$address/instances" | grep -Eq "\"locks\": ?$1[,}]"; }
