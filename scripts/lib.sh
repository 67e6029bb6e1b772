# Shared by the scripts beside it; sourced, not run.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# found COMMAND: a command of PATH, or where there is a slash in it a path, in which * may stand for a version.
found() {
    case $1 in
        */*) compgen -G "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# need COMMAND=PACKAGE...: installs the Debian packages of the commands that are missing; fails where that is not possible.
# A command may be a path as well, see found. The servers among them are not started as services: invoke-rc.d takes
# RUNLEVEL=1 for a reason; systemd needs a mask, which is taken off again.
need() {
    local pair missing=() still=()
    PATH=$PATH:/usr/sbin:/sbin
    for pair in "$@"; do
        found "${pair%%=*}" || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    say "installing ${missing[*]}"
    command -v apt-get >/dev/null || fail "missing: ${missing[*]} (Debian's names), and there is no apt-get here"
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
        as_root=(sudo -n)
    fi
    local apt=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 -q -y)
    "${as_root[@]}" "${apt[@]}" update </dev/null >/dev/null || echo "apt-get update failed; trying with the lists at hand" >&2
    local services=()
    if [[ -d /run/systemd/system ]]; then
        services=("${missing[@]/%/.service}")
        services=("${services[@]/-server./.}")
        "${as_root[@]}" systemctl --quiet --runtime mask "${services[@]}"
    fi
    "${as_root[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null >/dev/null \
        || fail "could not install ${missing[*]}; as root: apt-get install ${missing[*]}"
    ((${#services[@]} == 0)) || "${as_root[@]}" systemctl --quiet --runtime unmask "${services[@]}"
    for pair in "$@"; do
        found "${pair%%=*}" || still+=("${pair%%=*}")
    done
    ((${#still[@]} == 0)) || fail "still missing after the installation: ${still[*]}"
}

# free_port: the number of a port that nobody listens on; needs ss.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((15000 + RANDOM % 17000))
        if [[ -z $(ss -Hltn "sport = :$port") ]]; then echo "$port"; return; fi
    done
    fail "no free port"
}

# need_rust: cargo, from rustup where the shell does not know it yet.
need_rust() {
    if ! command -v cargo >/dev/null && [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null \
        || fail "no cargo: install Rust with  curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y  and try again"
}

# need_python_tools: what tests/api/requirements.txt lists, in a place of its own; sets tools to where its programs are.
need_python_tools() {
    need python3=python3 '/usr/lib/python3*/ensurepip/__init__.py=python3-venv'
    local place=${CARGO_TARGET_DIR:-target}/python want=tests/api/requirements.txt
    if ! cmp -s "$want" "$place/installed"; then
        say "installing $want"
        rm -rf "$place"
        python3 -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check -r "$want"
        cp "$want" "$place/installed"
    fi
    # shellcheck disable=SC2034 # Read by who sources this.
    tools=$(realpath "$place")/bin
}
