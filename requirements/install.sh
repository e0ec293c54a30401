#!/usr/bin/env bash
# Makes .venv hold exactly what requirements/lock.txt names, and this package beside it. `make` calls it when a stamp is out of date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv_python=.venv/bin/python

stop() {
    echo "make: $1" >&2
    exit 2
}

make_venv() {
    command -v "$python" >/dev/null || stop "found no '$python'; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || stop "'$python' is $("$python" --version 2>&1), but 3.11 or newer is needed; name another: make PYTHON=/path/to/python3.11"
    "$python" -c 'import venv, ensurepip' 2>/dev/null \
        || stop "'$python' cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv)"
    "$python" -m venv --clear .venv
}

# Adds to or replaces what is in .venv; uv is fast, pip always there and able to use a mirror that only pip knows of. Both compile
# what they install: else the first processes do that side by side, each for itself, and the first command takes longer for it.
export UV_COMPILE_BYTECODE=1
install() {
    if [ -x .venv/bin/uv ] && UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300} .venv/bin/uv pip install --python "$venv_python" "$@"; then
        return
    fi
    echo "make: uv could not install this; trying pip, which takes some minutes"
    "$venv_python" -m pip install "$@"
}

# opencv-python needs libGL, which a machine without a screen may lack; its headless build is the same library without windows.
ensure_cv2() {
    "$venv_python" -c 'import cv2' 2>/dev/null && return
    echo "make: opencv-python cannot be imported here ($("$venv_python" -c 'import cv2' 2>&1 | tail -n 1)): using its headless build instead"
    "$venv_python" -m pip uninstall --quiet --yes opencv-python opencv-python-headless
    install --no-deps --require-hashes -r requirements/headless.txt
    "$venv_python" -c 'import cv2' || stop "the headless build of OpenCV cannot be imported either; the line above names what this machine lacks"
}

# An environment that is half made (an interrupted call), too old, or whose Python is gone, is made anew.
"$venv_python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
"$venv_python" -m pip install --quiet --require-hashes -r requirements/bootstrap.txt || echo "make: no uv for this machine"
install --require-hashes -r requirements/lock.txt
ensure_cv2
install --no-deps --no-build-isolation --editable .
