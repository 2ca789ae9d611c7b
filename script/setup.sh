#!/usr/bin/env bash
# Makes sure there is a Python environment with everything Grimace needs, and says which: sets PYTHON.
# Sourced by demo.sh and test.sh; run by itself it only installs.
#
#   GRIMACE_VENV=DIR    put the environment into DIR (default: .venv in the project)
#   GRIMACE_VENV=none   use the Python that is active now; nothing is installed
#   GRIMACE_EXACT=1     install the exact versions of requirements-exact.txt
#   GRIMACE_PYTHON=P    make the environment with this Python

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

find_python() {
    local candidate
    for candidate in ${GRIMACE_PYTHON:-} python3.12 python3.11 python3.13 python3.10 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.10 or newer is needed and none is on the PATH. On Debian or Ubuntu: sudo apt-get install python3 python3-venv"
}

make_venv() {
    local python
    python=$(find_python)
    printf 'creating a Python environment in %s with %s (%s)\n' "$venv" "$python" "$("$python" --version)"
    "$python" -m venv --clear "$venv" && return
    rm -rf "$venv"
    fail "'$python -m venv' failed, see above. On Debian or Ubuntu: sudo apt-get install python3-venv"
}

install_packages() {
    local exact=()
    [ -z "${GRIMACE_EXACT:-}" ] || exact=(-c requirements-exact.txt)
    printf 'installing the requirements (with CUDA builds of torch about 6 GB; minutes, once)\n'
    "$PYTHON" -m pip install --quiet --upgrade 'pip>=25.3' &&
        "$PYTHON" -m pip install --build-constraint requirements-build.txt "${exact[@]}" -r requirements.txt -r requirements-dev.txt
}

# OpenCV's wheel takes a few libraries from the system. Install them where that is allowed, else say how.
provide_system_libraries() {
    local problem
    problem=$("$PYTHON" -c 'import cv2' 2>&1) && return
    case "$problem" in
    *"cannot open shared object"*)
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            printf 'installing libgl1 and libglib2.0-0, which OpenCV needs from the system\n'
            apt-get update -qq && apt-get install -y -qq libgl1 libglib2.0-0 && return
        fi
        fail "OpenCV needs libraries from the system: sudo apt-get install -y libgl1 libglib2.0-0  ($problem)"
        ;;
    esac
}

check_packages() {
    "$PYTHON" script/check_environment.py
}

prepare_venv() {
    local stamp wanted
    PYTHON=$venv/bin/python
    stamp=$venv/grimace-is-ready
    wanted=$(cat requirements*.txt | cksum)${GRIMACE_EXACT:-}
    [ -x "$PYTHON" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    "$PYTHON" -m pip --version >/dev/null 2>&1 || make_venv
    rm -f "$stamp"
    install_packages || fail "the installation failed, see above; the next run goes on from here"
    provide_system_libraries
    if ! check_packages; then
        printf 'an earlier installation was cut off and left damage: beginning anew\n'
        make_venv
        install_packages || fail "the installation failed, see above; the next run goes on from here"
        check_packages || fail "the installation is not usable, see above"
    fi
    printf '%s' "$wanted" >"$stamp"
}

venv=${GRIMACE_VENV:-.venv}
if [ "$venv" = none ]; then
    PYTHON=$(command -v python || command -v python3) || fail "GRIMACE_VENV=none, but no python is on the PATH"
    check_packages || fail "GRIMACE_VENV=none, but $PYTHON lacks what is listed above. Install it there: $PYTHON -m pip install --build-constraint requirements-build.txt -r requirements.txt -r requirements-dev.txt"
else
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "GRIMACE_VENV=$venv holds something else than a Python environment; name another folder"
    fi
    mkdir -p "$venv"
    if command -v flock >/dev/null; then
        exec 9>"$venv.lock"
        flock 9
    fi
    prepare_venv
    if command -v flock >/dev/null; then
        flock -u 9
        exec 9>&-
    fi
fi
export PYTHON
