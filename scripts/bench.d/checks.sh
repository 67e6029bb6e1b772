# Looks at a thousand wallets, against the peers'; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

checks() {
    local hosts=$((QUICK ? 200 : 1000)) round servers=() plain_port digest_port closing
    say "looks at $hosts wallets: $ROUNDS rounds"
    [[ -x $programs/examples/bench_checker ]] || fail "no bench_checker in $programs/examples"
    targets "$hosts" --close
    local closing_pid=$target_pid
    closing=$target
    driver_server
    plain_port=$port
    driver_server --digest
    digest_port=$port
    targets "$hosts"
    blackbox
    local blackbox_port=$port blackbox_pid=$pid
    curl -s "http://127.0.0.1:$port/probe?module=rpc&target=http://127.0.1.1:$target/json_rpc" \
        | grep -q '^probe_success 1$' || fail 'blackbox_exporter finds no wallet'
    monit_file "$hosts" >"$work/monit-all.rc"
    chmod 600 "$work/monit-all.rc"
    cat >"$work/probe.lua" <<END
local n = 0
function request()
    n = (n + 1) % $hosts
    return wrk.format('GET', string.format('/probe?module=rpc&target=http://127.0.%d.%d:$target/json_rpc',
        math.floor(n / 250) + 1, n % 250 + 1))
end
END
    for ((round = 0; round < ROUNDS; round++)); do
        own_checks
        load checks.blackbox "$blackbox_pid" "http://127.0.0.1:$blackbox_port/" -s "$work/probe.lua"
        monit_pass "$hosts"
        vigil_pass "$hosts"
    done
    for pid in "$blackbox_pid" "$target_pid" "$closing_pid" "${servers[@]}"; do stop "$pid"; done
}

# checker NAME ARGUMENTS...: one run of the driver; what it did a second, and the processor time of each, us.
checker() {
    local name=$1 line
    shift
    line=$(on "$server_core" "$programs/examples/bench_checker" "$@" --hosts "$hosts" --concurrency 64)
    if ! grep -q '"failed":0[,}]' <<<"$line"; then
        missing "$name: $line"
        return
    fi
    result "$name.rps" "$(field checks_per_s "$line")"
    result "$name.cpu" "$(field cpu_us_per_check "$line")"
}

# All of them ask the same server as the peers, but for the login, which only the driver's own server asks for. What is
# close is compared in short turns: the machine's pace changes within a round.
own_checks() {
    local rounds=$((QUICK ? 5 : 60)) turns=$((QUICK ? 1 : 4)) turn
    checker checks.checker checker --port "$target" --rounds "$rounds"
    checker checks.new checker --port "$closing" --rounds "$((rounds / 5))" --new-connections
    for ((turn = 0; turn < turns; turn++)); do
        checker checks.raw raw --port "$target" --rounds "$((rounds / turns))"
        checker checks.beside checker --port "$target" --rounds "$((rounds / turns))"
        checker checks.plain checker --port "$plain_port" --rounds "$((rounds / turns))"
        checker checks.digest checker --port "$digest_port" --rounds "$((rounds / turns))" --digest
    done
}

# driver_server [OPTIONS]: the driver's own server, which would end with its input; its port in $port.
driver_server() {
    free_port
    [[ -p $work/never ]] || mkfifo "$work/never"
    # Open for reading and writing: it neither blocks nor ends.
    taskset -c "$load_core" "$programs/examples/bench_checker" serve --hosts "$hosts" --port "$port" "$@" \
        <>"$work/never" >>"$work/server.log" 2>&1 &
    pid=$!
    started+=("$pid")
    await 10 'the server of the driver' eval "(: >/dev/tcp/127.0.1.1/$port)"
    servers+=("$pid")
}

# seen HOSTS: have the wallets been asked so often since the last call? The microseconds of it in $span.
count_seen() {
    local answer
    answer=$(curl -s "http://127.0.1.1:$target/seen")
    seen=$((seen + ${answer% *}))
    span=$((span + ${answer#* }))
}

monit_pass() {
    local began=$EPOCHREALTIME seen=0 span=0
    count_seen
    seen=0 span=0
    on "$server_core" monit -c "$work/monit-all.rc" validate >"$work/monit-all.out" 2>&1 || true
    local took
    took=$(calc "$EPOCHREALTIME - $began")
    count_seen
    if ((seen == $1)); then
        result checks.monit.rps "$(calc "$1 / $took")"
    else
        missing "monit looked at $seen of $1"
    fi
}

vigil_pass() {
    [[ -n $VIGIL ]] || return 0
    local parallel seen span
    for parallel in 4 64; do
        seen=0 span=0
        count_seen
        vigil_with "$1" "$parallel"
        # Asking in between would be seen as well: the pass is long over by then.
        sleep "$((QUICK ? 2 : 3))"
        seen=0 span=0
        count_seen
        stop "$pid"
        if ((seen >= $1 && span > 0)); then
            result "checks.vigil.$parallel.rps" "$(calc "$seen * 1000000 / $span")"
        else
            missing "vigil looked at $seen of $1"
        fi
    done
}
