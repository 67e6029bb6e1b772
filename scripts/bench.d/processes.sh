# Processes by their PIDs; sourced. shellcheck shell=bash

processes() {
    local count=$((QUICK ? 1000 : 10000)) driver=$programs/examples/bench_processes
    say "a look at $count processes"
    [[ -x $driver ]] || { missing 'bench_processes is not there'; return; }
    on "$server_core" "$driver" --count "$count" --rounds "$ROUNDS" | tee -a "$results"
}
