# Memory and the size on disk; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

memory() {
    local count=$((QUICK ? 1000 : 10000)) file
    say "memory with nothing to do, and with $count nodes and a kept connection to each"
    serve "$server_core" "$work/idle.db"
    await 30 'an idle service' answers "http://$address/readyz"
    sleep 3
    result memory.idle "$(resident "$warden")"
    stop "$warden"
    targets 1000
    fill "$work/kept.db" "$count"
    serve "$server_core" "$work/kept.db" PROCWARDEN__NODES__INTERVAL=5s
    await 60 "$count working nodes" works "$count"
    # Two more passes.
    sleep 11
    result memory.kept "$(resident "$warden")"
    result memory.kept.connections "$(connections "$warden")"
    stop "$warden"
    stop "$target_pid"
    for file in procwarden:"$DIST" vigil:"$VIGIL" blackbox:"$(command -v prometheus-blackbox-exporter)"; do
        [[ -n ${file#*:} ]] || { missing "the size of ${file%%:*}"; continue; }
        cp "${file#*:}" "$work/binary"
        strip "$work/binary"
        result "size.${file%%:*}" "$(stat -c %s "$work/binary")"
    done
    rm -f "$work/binary"
}

# connections PID: its sockets.
connections() { find "/proc/$1/fd" -lname 'socket:*' 2>/dev/null | wc -l; }
