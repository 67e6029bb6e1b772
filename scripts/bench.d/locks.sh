# Scans of a lock directory, against C and PHP; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

locks() {
    local count counts=(10000 100000)
    ((!QUICK)) || counts=(2000)
    cc -O2 -o "$work/locks" scripts/bench.d/locks.c
    for count in "${counts[@]}"; do scan_of "$count"; done
}

# scan_of COUNT: in turns; each program scans once to warm up, then three times a round.
scan_of() {
    local dir=$work/locks-$1 round what driver=$programs/examples/bench_locks
    say "scans of $1 locks that share 100 processes"
    mkdir "$dir"
    helper "$programs/examples/bench_events" hold "$dir" "$1" 100
    for ((round = 0; round < ROUNDS; round++)); do
        result "locks.$1.c" "$(on "$server_core" "$work/locks" "$dir" 3 | middle)"
        result "locks.$1.stat" "$(on "$server_core" "$work/locks" "$dir" 3 stat | middle)"
        result "locks.$1.php" "$(on "$server_core" php scripts/bench.d/locks.php "$dir" 3 | middle)"
        if [[ -x $driver ]]; then
            for what in cold cold-pids warm warm-pids; do
                result "locks.$1.$what" "$(field median_ns "$(on "$server_core" "$driver" "$what" "$dir" 3)")"
            done
        else
            missing 'bench_locks is not there'
        fi
    done
    dismiss
    rm -rf "$dir"
}

# middle: of three lines.
middle() { sort -g | sed -n 2p; }
