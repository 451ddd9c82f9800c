#!/bin/sh
# Prints the path of what tests drive the gateway with, and installs it on first
# use into .clients/ at the root of this repository (delete the folder to remove it).
#
#   tests/clients/install.sh sdks        a folder for PYTHONPATH: OpenAI's and Anthropic's
#                                        clients and Playwright, as requirements.txt pins them
#   tests/clients/install.sh schemathesis   the same, with Schemathesis, as schemathesis.txt pins it
#   tests/clients/install.sh chromium    $HERDSMAN_TEST_CHROMIUM, or the one on PATH, or
#                                        Debian's, unpacked without root (400 MB)
#
# Any number of these may run at once: one installs, the others wait for it.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
store=$(dirname -- "$(dirname -- "$here")")/.clients

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
    say "$1"
    [ -z "${2-}" ] || say "help: $2"
    exit 1
}

# Calls "$2" with a folder to fill, then gives that folder its name, "$1": a path
# this script prints is always whole.
once() {
    [ ! -d "$1" ] || return 0
    mkdir -p "$store"
    # The lock dies with its holder, so an interrupted install blocks nobody.
    exec 9>"$1.lock"
    flock 9 || fail "cannot lock $1.lock"
    [ ! -d "$1" ] || return 0
    rm -rf "$1".partial.*
    partial=$(mktemp -d "$1.partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    trap 'exit 1' HUP INT TERM
    "$2" "$partial" 9>&- >&2
    mv "$partial" "$1"
}

# Installs the packages of "$requirements".
install_packages() {
    say "installing the packages of tests/clients/$requirements into $store (once, about 15 seconds)"
    command -v python3 >/dev/null || fail "python3 is missing; the clients are Python packages"
    python=python3
    if ! $python -m pip --version >/dev/null 2>&1; then
        python3 -m venv "$1/venv" || fail "this python3 has neither pip nor venv" "on Debian: apt install python3-venv"
        python=$1/venv/bin/python3
    fi
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet \
        --no-deps --require-hashes --only-binary=:all: --target "$1/packages" -r "$here/$requirements" ||
        fail "pip could not install the packages of $here/$requirements" "no network? not Linux on x86-64?"
    rm -rf "$1/venv"
}

# apt with lists and packages of its own: it needs no root, changes nothing on the
# machine, and takes of the packages that chromium needs those that are not installed.
apt() {
    apt-get -qq -o Dir::State="$apt/state" -o Dir::Cache="$apt/cache" -o Dir::State::status=/var/lib/dpkg/status \
        -o Debug::NoLocking=1 -o APT::Sandbox::User= -o APT::Install-Recommends=false "$@"
}

install_chromium() {
    help="install Chromium and put it on PATH, or name it in HERDSMAN_TEST_CHROMIUM"
    command -v apt-get >/dev/null || fail "chromium is missing, and there is no apt-get to fetch Debian's" "$help"
    say "unpacking Debian's chromium into $store (once, about 15 seconds)"
    apt=$1/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    apt update || fail "apt-get could not fetch the lists of packages (no network?)" "$help"
    apt --yes --download-only install chromium || fail "apt-get could not fetch chromium" "$help"
    for package in "$apt"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$1/root" || fail "cannot unpack $package" "$help"
    done
    rm -rf "$apt"

    # What the packages' own scripts would set up: where libraries and fonts are.
    cat >"$1/fonts.conf" <<'CONF'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir prefix="relative">root/usr/share/fonts</dir>
</fontconfig>
CONF
    cat >"$1/chromium" <<'LAUNCHER'
#!/bin/sh
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
libraries=$(find "$here/root" -name '*.so*' -not -path '*/lib/chromium/*' -printf '%h\n' | sort -u | tr '\n' ':')
export LD_LIBRARY_PATH="$libraries" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/root/usr/lib/chromium/chromium" "$@"
LAUNCHER
    chmod +x "$1/chromium"
    "$1/chromium" --version || fail "Debian's chromium does not run on this machine" "$help"
}

case ${1-} in
sdks | schemathesis)
    [ "$1" = sdks ] && requirements=requirements.txt || requirements=schemathesis.txt
    # Other packages are another folder.
    found=$store/$1-$(sha256sum "$here/$requirements" | cut -c1-12)
    once "$found" install_packages
    printf '%s\n' "$found/packages"
    ;;
chromium)
    if [ -n "${HERDSMAN_TEST_CHROMIUM-}" ]; then
        [ -x "$HERDSMAN_TEST_CHROMIUM" ] || fail "HERDSMAN_TEST_CHROMIUM=$HERDSMAN_TEST_CHROMIUM is not a program"
        printf '%s\n' "$HERDSMAN_TEST_CHROMIUM"
    elif ! command -v chromium; then
        once "$store/chromium" install_chromium
        printf '%s\n' "$store/chromium/chromium"
    fi
    ;;
*)
    say "usage: install.sh sdks|schemathesis|chromium"
    exit 64
    ;;
esac
