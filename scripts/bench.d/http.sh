# Answers from memory, against the peers'; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

http() {
    say "/health against the peers: $ROUNDS rounds of $WRK s"
    targets 1000
    fill "$work/http.db" 10
    serve "$server_core" "$work/http.db"
    await 30 'ten working nodes' works 10
    local round body ours=$address us=$warden
    body=$(curl -s "http://$ours/health")
    local -A ports=() pids=()
    nginx_with "$body"; ports[nginx]=$port pids[nginx]=$pid
    haproxy_with "$body"; ports[haproxy]=$port pids[haproxy]=$pid
    blackbox; ports[blackbox]=$port pids[blackbox]=$pid
    monit_daemon; ports[monit]=$port pids[monit]=$pid
    if [[ -n $VIGIL ]]; then
        vigil_with 10 4
        ports[vigil]=$port pids[vigil]=$pid
        await 10 vigil answers "http://127.0.0.1:$port/status/text"
    else
        missing 'vigil: no program'
    fi
    for ((round = 0; round < ROUNDS; round++)); do
        load http.health.procwarden "$us" "http://$ours/health"
        load http.health.nginx "${pids[nginx]}" "http://127.0.0.1:${ports[nginx]}/health"
        load http.health.haproxy "${pids[haproxy]}" "http://127.0.0.1:${ports[haproxy]}/health"
        load http.health.blackbox "${pids[blackbox]}" "http://127.0.0.1:${ports[blackbox]}/-/healthy"
        load http.health.monit "${pids[monit]}" "http://127.0.0.1:${ports[monit]}/_ping"
        [[ -z $VIGIL ]] || load http.health.vigil "${pids[vigil]}" "http://127.0.0.1:${ports[vigil]}/status/text"
    done
    for pid in "$us" "${pids[@]}"; do stop "$pid"; done
    bodies
    stop "$target_pid"
}

bodies() {
    local count=$((QUICK ? 1000 : 10000)) round url tag encoding
    say "/nodes/status of $count nodes, plain, packed, and known already"
    fill "$work/bodies.db" "$count"
    serve "$server_core" "$work/bodies.db" PROCWARDEN__NODES__INTERVAL=24h
    await 60 "$count working nodes" works "$count"
    url=http://$address/nodes/status
    for encoding in identity gzip zstd; do
        result "http.bodies.$encoding.bytes" "$(curl -s -o /dev/null -H "Accept-Encoding: $encoding" -w '%{size_download}' "$url")"
    done
    for ((round = 0; round < ROUNDS; round++)); do
        load http.bodies.plain "$warden" "$url" -H 'Accept-Encoding: identity'
        for encoding in gzip zstd; do
            if curl -s -o /dev/null -D - -H "Accept-Encoding: $encoding" "$url" | grep -qi "^content-encoding: $encoding"; then
                load "http.bodies.$encoding" "$warden" "$url" -H "Accept-Encoding: $encoding"
            else
                missing "/nodes/status is not sent as $encoding"
            fi
        done
        known "$url"
        load http.bodies.health "$warden" "http://$address/health"
    done
    stop "$warden"
}

# known URL: a client that has the body already. Nothing is looked at by the clock meanwhile, but a check that failed under
# load is made again: then the body is another one, and the round counts for nothing.
known() {
    local tag try before=$work/known.jsonl
    for try in 1 2 3; do
        tag=$(curl -s -o /dev/null -D - "$1" | tr -d '\r' | awk 'tolower($1) == "etag:" {print $2}')
        cp "$results" "$before"
        load http.bodies.known "$warden" "$1" -H "If-None-Match: $tag"
        [[ $(curl -s -o /dev/null -w '%{http_code}' -H "If-None-Match: $tag" "$1") != 304 ]] || return 0
        cp "$before" "$results"
    done
    missing 'a body that stays what it is for a round'
}
