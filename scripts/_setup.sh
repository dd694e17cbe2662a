# Sourced by the other scripts: makes .venv with what requirements*.lock pin, once for each change
# of the lock files.  Needs Python 3.11 or newer; on Debian and Ubuntu it installs what the system
# lacks when run as root, and else says in one line what to install.
# Usage: . scripts/_setup.sh [run|dev]      (run: to use plait; dev: to test it as well)

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

plait_say() { printf '%s\n' "$*" >&2; }

plait_apt() {  # install Debian packages, or say which ones are needed
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        plait_say "installing Debian packages: $*"
        apt-get install -y -qq "$@" >/dev/null 2>&1 && return
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 && return
    fi
    plait_say "error: needed and not installed: $*. Install them (Debian, Ubuntu: apt-get install $*), then run this again"
    exit 1
}

plait_python() {  # the first Python that is new enough
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        command -v "$name" >/dev/null || continue
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        printf '%s' "$name"
        return
    done
}

plait_venv() {  # .venv with the locked packages and plait itself, editable
    local want="$1" python stamp
    python="$(plait_python)"
    if [ -z "$python" ]; then
        plait_apt python3 python3-venv
        python="$(plait_python)"
        [ -n "$python" ] || { plait_say "error: plait needs Python 3.11 or newer"; exit 1; }
    fi
    stamp="$(cat requirements.lock requirements-dev.lock pyproject.toml | sha256sum | cut -c1-16)"
    grep -qsx "$want-$stamp" .venv/.ready && return
    if [ ! -x .venv/bin/python ]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || plait_apt python3-venv
        "$python" -m venv .venv
    fi
    plait_say "installing Python packages (once) ..."
    .venv/bin/python -m pip install -q --require-hashes -r requirements.lock
    [ "$want" != dev ] || .venv/bin/python -m pip install -q --require-hashes -r requirements-dev.lock
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
    { [ "$want" != dev ] || printf 'run-%s\n' "$stamp"; printf '%s-%s\n' "$want" "$stamp"; } > .venv/.ready
}

plait_tools() {  # commands of the system that the tests need: name of the command, then its package
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] || plait_apt "${missing[@]}"
}

plait_venv "${1:-run}"
