#!/usr/bin/env bash
# Installs the project, editable, and all it needs into .venv at the root of the repository.
# Does nothing when that is up to date already, and mends what an interruption left behind.
#
#   PYTHON=...  the interpreter to use (3.11, 3.12 or 3.13); default: the first one found
#   TORCH=...   the version of PyTorch; default: the one that the project is tested with. It is
#               pinned so that pip takes the build that fits a local wheel or a configured index,
#               and not just the newest one, which may be a download of several gigabytes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
torch=${TORCH:-2.13.0}

fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

# The interpreter itself, even where a wrapper or a virtual environment stands before it.
real_python() {
    "$1" -c 'import os, sys; print(os.path.realpath(sys.executable), *sys.version_info[:3])'
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13"
        echo "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found; install one, or name it with PYTHON=..."
}

# What the installed state depends on; the same text means that there is nothing to do.
fingerprint() {
    echo "$root $1 torch $torch"
    (cd "$root" && cat setup.py pyproject.toml depth_adaptive_fairseq/compat/startup/* depth_adaptive_fairseq/native/*.{h,cpp} | cksum)
}

check_compiler() {
    compgen -G "$venv/lib/python*/site-packages/fairseq-0.12.2.dist-info" >/dev/null && return
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        command -v clang++ >/dev/null ||
        fail "fairseq is built from source, which needs a C++ compiler: install g++ or clang"
    "$1" - <<'END' || fail "the headers of $1 are missing (Python.h): install its development package"
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
END
}

make_venv() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    echo "setup: creating $venv with $1"
    rm -rf "$venv"
    if command -v uv >/dev/null; then
        uv venv --quiet --seed --python "$1" "$venv"
    else
        "$1" -m venv "$venv" ||
            fail "$1 cannot create virtual environments; some systems want python3-venv installed"
    fi
}

install_all() {
    local wanted=("torch==$torch" --editable "$root[test,quickstart]")
    echo "setup: installing into $venv (fairseq is built from source, half a minute)"
    if command -v uv >/dev/null; then
        uv pip install --python "$venv/bin/python" "${wanted[@]}" && return
        echo "setup: uv did not succeed; trying pip"
    fi
    # Later versions of pip refuse the metadata of omegaconf 2.0.6, which fairseq requires.
    "$venv/bin/python" -m pip install --quiet "pip>=23.1,<24.1"
    "$venv/bin/python" -m pip install "${wanted[@]}"
}

python=$(find_python)
current=$(fingerprint "$(real_python "$python")")
if [ "$(cat "$venv/installed" 2>/dev/null)" = "$current" ] && supported "$venv/bin/python"; then
    exit 0
fi
if [ -e "$venv" ] && [ "$(real_python "$venv/bin/python" 2>/dev/null)" != "$(real_python "$python")" ]; then
    rm -rf "$venv"
fi
rm -f "$venv/installed"
make_venv "$python"
check_compiler "$python"
install_all || fail "the installation failed, see above; running this again goes on from here"
printf '%s\n' "$current" >"$venv/installed"
echo "setup: done; the commands are in $venv/bin"
