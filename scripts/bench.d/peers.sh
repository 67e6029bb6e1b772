# The peers, each with a configuration of its own in $work; sourced. Each takes its port into $port, its PID into $pid.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

# nginx_with BODY: /health answers with it from memory; one worker, the master itself.
nginx_with() {
    free_port
    mkdir -p "$work/nginx"
    cat >"$work/nginx.conf" <<END
daemon off; master_process off; pid $work/nginx/pid; error_log $work/nginx/error.log; worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
    uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
    server {
        listen 127.0.0.1:$port;
        location = /health { default_type application/json; return 200 '$1'; }
    }
}
END
    start nginx.log taskset -c "$server_core" nginx -e "$work/nginx/error.log" -c "$work/nginx.conf"
    await 10 nginx answers "http://127.0.0.1:$port/health"
}

haproxy_with() {
    free_port
    cat >"$work/haproxy.cfg" <<END
global
    nbthread 1
    maxconn 2048
defaults
    mode http
    timeout client 60s
    timeout connect 5s
    timeout server 5s
frontend health
    bind 127.0.0.1:$port
    http-request return status 200 content-type application/json string '$1'
END
    start haproxy.log taskset -c "$server_core" haproxy -db -f "$work/haproxy.cfg"
    await 10 HAProxy answers "http://127.0.0.1:$port/health"
}

blackbox() {
    free_port
    cat >"$work/blackbox.yml" <<END
modules:
  rpc:
    prober: http
    timeout: 5s
    http:
      method: POST
      preferred_ip_protocol: ip4
      headers: { Content-Type: application/json }
      body: '{"jsonrpc":"2.0","id":"0","method":"get_version"}'
      fail_if_body_not_matches_regexp: ['"version":\s*[0-9]+']
END
    start blackbox.log env GOMAXPROCS=1 taskset -c "$server_core" prometheus-blackbox-exporter \
        --config.file="$work/blackbox.yml" --web.listen-address="127.0.0.1:$port" --log.level=error
    await 10 blackbox_exporter answers "http://127.0.0.1:$port/-/healthy"
}

# monit_file HOSTS: the control file of as many hosts at $target.
monit_file() {
    local g
    free_port
    cat <<END
set daemon 600
set pidfile $work/monit.pid
set statefile $work/monit.state
set idfile $work/monit.id
set log $work/monit.log
set httpd port $port and use address 127.0.0.1 allow localhost
END
    for ((g = 0; g < $1; g++)); do
        local host=127.0.$((g / 250 + 1)).$((g % 250 + 1))
        echo "check host host-$g with address $host if failed port $target protocol http request \"/\" then alert"
    done
}

monit_daemon() {
    monit_file 200 >"$work/monit.rc" # no subshell: it sets $port
    chmod 600 "$work/monit.rc"
    start monit.out taskset -c "$server_core" monit -I -c "$work/monit.rc"
    await 10 monit answers "http://127.0.0.1:$port/_ping"
}

# vigil_with HOSTS PARALLEL: no sleep before a probe; its pages are those of its sources.
vigil_with() {
    local g replicas=''
    free_port
    for ((g = 0; g < $1; g++)); do
        replicas+="\"http://127.0.$((g / 250 + 1)).$((g % 250 + 1)):$target/\","
    done
    mkdir -p "$work/vigil/templates"
    cat >"$work/vigil.cfg" <<END
[server]
log_level = "error"
inet = "127.0.0.1:$port"
workers = 1
manager_token = "manager"
reporter_token = "reporter"
[assets]
path = "$work/vigil/"
[branding]
page_title = "bench"
page_url = "http://127.0.0.1/"
company_name = "bench"
icon_color = "#1972F5"
icon_url = "http://127.0.0.1/"
logo_color = "#1972F5"
logo_url = "http://127.0.0.1/"
website_url = "http://127.0.0.1/"
support_url = "mailto:nobody@localhost"
custom_html = ""
[metrics]
poll_interval = 600
poll_retry = 2
poll_retry_wait = 0
poll_parallelism = $2
[notify]
startup_notification = false
[probe]
[[probe.service]]
id = "wallets"
label = "wallets"
[[probe.service.node]]
id = "rpc"
label = "rpc"
mode = "poll"
replicas = [${replicas%,}]
END
    start vigil.log taskset -c "$server_core" "$VIGIL" -c "$work/vigil.cfg"
}
