# What the groups of scripts/bench share; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

server_core=0 # whoever is measured
load_core=1   # whoever asks it, and whoever it asks
started=()    # PIDs that this script started, in order
helper_group= # of the processes that the helper started

clean_up() {
    local code=$? i
    trap - EXIT INT TERM
    # Its processes are ended by itself, but where it is ended by us.
    [[ -z $helper_group ]] || kill -KILL -- "-$helper_group" 2>/dev/null || true
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do stop "${started[i]}"; done
    rm -rf "$work"
    exit "$code"
}

# on CORE COMMAND...: pinned; a function of this script is not a command.
on() { taskset -c "$@"; }

# start LOG COMMAND...: in the background; its PID in $pid.
start() {
    local log=$1
    shift
    "$@" </dev/null >>"$work/$log" 2>&1 &
    pid=$!
    started+=("$pid")
}

# stop PID: asks it to end, waits, and forgets it.
stop() {
    kill "$1" 2>/dev/null || true
    ended "$1"
}

# ended PID: waits for the end of one that was told to end.
ended() {
    local i
    wait "$1" 2>/dev/null || true
    for i in "${!started[@]}"; do [[ ${started[i]} != "$1" ]] || unset "started[i]"; done
    started=("${started[@]}")
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || fail "not in time: $what; $(tail -n 3 "$work"/*.log | cut -c 1-300)"
        sleep 0.05
    done
}

# free_port: in $port; below the ports that the kernel gives to clients. The one after it is free as well.
free_port() {
    local next
    while :; do
        port=$((15000 + RANDOM % 17000)) next=$((port + 1))
        (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || (: >"/dev/tcp/127.0.0.1/$next") 2>/dev/null || return 0
    done
}

# answers URL [CODE]: does it, with 200 or that code?
answers() { [[ $(curl -s -o /dev/null -m 5 -w '%{http_code}' "$1") == "${2:-200}" ]]; }

# result NAME VALUE: one line for the report.
result() {
    printf '{"name":"%s","value":%s}\n' "$1" "${2:-null}" >>"$results"
    printf '  %-52s %s\n' "$1" "$2"
}

# field KEY JSON: of one flat object; text without its quotes.
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$2"; }

calc() { awk "BEGIN { printf \"%.6g\", $1 }"; }

# cpu PID: ticks of 10 ms that it has used, with its threads.
cpu() { sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'; }

# resident PID: KiB.
resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

# load NAME PID URL [OPTIONS OF wrk...]: NAME.rps, NAME.p99 (us) and NAME.cpu (us of PID for one request). With any
# answer but 200 and 304, nothing.
load() {
    local name=$1 who=$2 url=$3 before after text
    shift 3
    before=$(cpu "$who")
    text=$(on "$load_core" wrk -t1 -c32 "-d${WRK}s" --latency "$@" "$url")
    after=$(cpu "$who")
    if grep -q 'Non-2xx or 3xx' <<<"$text"; then
        echo "  $name: $(grep 'Non-2xx' <<<"$text")" >&2
        return
    fi
    awk -v name="$name" -v ticks="$((after - before))" '
        function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }
        / 99%/ { p99 = us($2) }
        /requests in/ { n = $1 }
        /Requests\/sec/ { rps = $2 }
        END {
            printf "{\"name\":\"%s.rps\",\"value\":%s}\n{\"name\":\"%s.p99\",\"value\":%d}\n", name, rps, name, p99
            if (n) printf "{\"name\":\"%s.cpu\",\"value\":%.2f}\n", name, ticks * 10000 / n
        }' <<<"$text" | tee -a "$results" | sed 's/^/  /'
}

# targets HOSTS [--close]: wallets to look at, on $target of 127.0.1.1 and so on; a silent one on 127.0.0.1 and the
# next port. The PID in $target_pid.
targets() {
    local at
    for at in 1 2 3; do
        free_port
        target=$port
        start target.log taskset -c "$load_core" "$programs/examples/bench_target" "$port" "$@"
        target_pid=$pid
        await 10 'the wallets' answers "http://127.0.1.1:$port/seen" && return
    done
}

# fill DATABASE COUNT [ROW]: nodes that are the wallets of $target; ROW: a WHEN of host and port for some of them.
fill() {
    "$service" --database-url "sqlite://$1" migrate >/dev/null
    sqlite3 -bail "$1" "INSERT INTO procwarden_nodes (id, version, origin, instance, owner, name, host, port, tls,
        process_name, available, state, message, worked, created_at, updated_at)
        WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < $2)
        SELECT g, 1, 'user', 'bench', 'bench', 'node-' || g,
            CASE ${3:-} WHEN 1 THEN '127.0.' || (g % 1000 / 250 + 1) || '.' || (g % 250 + 1) END,
            $target, 'off', 'monero-wallet-rpc', 1, 'unknown', '', 0, 1, 1 FROM n"
}

# serve CORES DATABASE [KEY=VALUE...]: the service; its address in $address, its PID in $warden. Not awaited.
serve() {
    local cores=$1 database=$2
    shift 2
    free_port
    address=127.0.0.1:$port
    start procwarden.log env "$@" taskset -c "$cores" "$service" --database-url "sqlite://$database" \
        --listen "$address" --log-level warn
    warden=$pid
}

# works COUNT: does /health count so many that work?
works() { curl -s -m 5 "http://$address/health" | grep -q "\"working\":$1[,}]"; }

# helper COMMAND...: a coprocess that answers each line with one. It tells the group of its processes, then that it is ready.
helper() {
    coproc HELPER { exec "$@" 2>>"$work/helper.log"; }
    # shellcheck disable=SC2153
    helper_pid=$HELPER_PID
    started+=("$helper_pid")
    if ! { read -r helper_group && read -r; } <&"${HELPER[0]}"; then
        fail "it ended: $* ($(tail -n 1 "$work/helper.log"))"
    fi
}

# ask WORDS...: of the helper; its line in $answer.
ask() {
    answer=
    printf '%s\n' "$*" >&"${HELPER[1]}" || return 1
    read -r answer <&"${HELPER[0]}" || return 1
}

# dismiss: lets the helper end.
dismiss() {
    # The array is gone where the helper ended by itself.
    local in=${HELPER[1]:-}
    [[ -z $in ]] || eval "exec $in>&-"
    ended "$helper_pid"
    helper_group=
}

missing() { echo "  not measured: $*" >&2; }
