# From exec to the first /readyz that is 200; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

starts() {
    local count=$((QUICK ? 1000 : 10000)) round began
    say "a start with $count nodes in SQLite"
    targets 1000
    fill "$work/start-template.db" "$count"
    for ((round = 0; round < ROUNDS; round++)); do
        rm -f "$work"/start.db*
        cp "$work/start-template.db" "$work/start.db"
        began=$EPOCHREALTIME
        serve "$server_core" "$work/start.db"
        until answers "http://$address/readyz"; do [[ -d /proc/$warden ]] || fail 'procwarden ended at its start'; done
        result start.ready "$(calc "$EPOCHREALTIME - $began")"
        stop "$warden"
    done
    stop "$target_pid"
}
