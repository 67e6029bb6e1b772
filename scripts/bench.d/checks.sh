# Looks at a thousand wallets, against the peers'; sourced. shellcheck shell=bash

checks() {
    local hosts=$((QUICK ? 200 : 1000)) round driver=$programs/examples/bench_checker
    say "looks at $hosts wallets: $ROUNDS rounds"
    targets "$hosts"
    blackbox
    local blackbox_port=$port blackbox_pid=$pid
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
        own_checks "$driver" "$hosts"
        load checks.blackbox "$blackbox_pid" "http://127.0.0.1:$blackbox_port/" -s "$work/probe.lua"
        monit_pass "$hosts"
        vigil_pass "$hosts"
    done
    stop "$blackbox_pid"
    stop "$target_pid"
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
    local parallel seen span limit
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
