# Processes by their PIDs; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

processes() {
    local count=$((QUICK ? 1000 : 10000)) round line way driver=$programs/examples/bench_processes
    say "a look at $count processes: $ROUNDS rounds"
    [[ -x $driver ]] || { missing 'bench_processes is not there'; return; }
    for ((round = 0; round < ROUNDS; round++)); do
        while read -r line; do
            way=$(field way "$line")
            ((round > 0)) || [[ $(field count "$line") == "$count" ]] || echo "  only $(field count "$line") processes" >&2
            result "processes.$way" "$(field ns "$line")"
        done < <(on "$server_core" "$driver" "$count" 3)
    done
}
