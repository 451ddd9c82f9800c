#!/bin/sh
# From a fresh clone to running models, an edit that restarts just one, and one
# address for all of them. Needs Rust, Python and curl, and nothing installed by hand
# (README says where a C++ compiler is needed too); writes only into folders Git
# ignores (target, weights, .quickstart, .llama-server). Run it as often as you like.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"

say() { printf '\n# %s\n' "$*"; }
fail() {
    printf 'quickstart.sh: %s\n' "$*" >&2
    exit 1
}
for tool in cargo python3 curl; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done

mkdir -p .quickstart
say "Find llama-server, or install it, while herdsman is built (a minute or two, the first time)"
sh examples/llama-server.sh >.quickstart/llama-server 2>.quickstart/llama-server.log &
installing=$!
trap 'kill "$installing" 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
cargo build --bin herdsman
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
program=$target/debug/herdsman
wait "$installing" || {
    cat .quickstart/llama-server.log >&2
    fail "no llama-server found"
}
trap - EXIT HUP INT TERM
llama_server=$(cat .quickstart/llama-server)
printf '%s\n' "$program" "$llama_server"

say "Three tiny models that say one word each"
python3 examples/tiny_gguf.py --set weights

# herdsman STATE MODELS-DIR PORTS COMMAND…
run() {
    state=$1 models=$2 ports=$3
    shift 3
    "$program" --models-dir "$models" --state-dir "$state" --port-range "$ports" --llama-server "$llama_server" "$@"
}
here() { run .quickstart/state models.d 8100-8999 "$@"; }
copy() { run .quickstart/copy/state .quickstart/copy/models.d 9000-9099 "$@"; }
show() { printf '$ herdsman %s\n' "$*"; }

say "What would happen? Nothing is touched yet"
show reconcile --dry-run
here reconcile --dry-run

say "Make it so"
show reconcile
here reconcile
show status
here status

say "Ask every running model"
here status --format json | python3 examples/ask.py

say "Now edit a definition, in a copy with its own servers"
# An interrupted run may have left some running.
if [ -d .quickstart/copy/state ]; then
    copy down >/dev/null
fi
rm -rf .quickstart/copy
mkdir -p .quickstart/copy
cp -R models.d weights .quickstart/copy
trap 'copy down >/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
copy reconcile >/dev/null
copy status --format json | python3 examples/ask.py --pids >.quickstart/copy/before

definition=.quickstart/copy/models.d/tiny-chat.toml
sed 's/^ctx_size.*/ctx_size = 2048/' "$definition" >.quickstart/copy/edited
mv .quickstart/copy/edited "$definition"
show reconcile
copy reconcile
copy status --format json | python3 examples/ask.py --pids >.quickstart/copy/after

say "Only that one has a new process"
pid() { sed -n "s/^$1 //p" ".quickstart/copy/$2"; }
for model in tiny-chat tiny-embed; do
    printf '%-12s pid %s -> %s\n' "$model" "$(pid "$model" before)" "$(pid "$model" after)"
done
[ "$(pid tiny-chat before)" != "$(pid tiny-chat after)" ] || fail "tiny-chat was not restarted"
[ "$(pid tiny-embed before)" = "$(pid tiny-embed after)" ] || fail "tiny-embed was restarted too"

say "One address for all models. tiny-spare does not run: the request starts it"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
show "watch --listen 127.0.0.1:$port"
# Not by `copy`, whose pid would be that of a shell.
"$program" --models-dir .quickstart/copy/models.d --state-dir .quickstart/copy/state --port-range 9000-9099 \
    --llama-server "$llama_server" watch --listen "127.0.0.1:$port" >.quickstart/copy/watch.log 2>&1 &
watcher=$!
end() {
    kill "$watcher" 2>/dev/null && wait "$watcher" || true
    copy down >/dev/null || true
}
trap end EXIT
# eventually COMMAND…: until it succeeds, or for half a minute
eventually() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { cat .quickstart/copy/watch.log >&2 && fail "this does not succeed: $*"; }
        sleep 0.1
    done
}
eventually curl -sf "http://127.0.0.1:$port/health"
question='{"model": "tiny-spare", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}'
# ask WORD: shows the answer, in which there must be that word
ask() {
    printf "\$ curl -s http://127.0.0.1:%s/v1/chat/completions -d '%s'\n" "$port" "$question"
    curl -s "http://127.0.0.1:$port/v1/chat/completions" -d "$question" >.quickstart/copy/answer
    cat .quickstart/copy/answer && echo
    grep -q "\"content\":\"$1 " .quickstart/copy/answer || fail "the answer is not \"$1\""
}
ask spare

say "The watcher applies an edit as you save it. With other weights, it says something else"
definition=.quickstart/copy/models.d/tiny-spare.toml
printf "\$ sed -i 's/tiny-spare.gguf/tiny-chat.gguf/' %s\n" "$definition"
sed -i 's/tiny-spare.gguf/tiny-chat.gguf/' "$definition"
eventually copy status --exit-code
ask hello
end
trap - EXIT

say "The copy is stopped. The models of models.d keep running without herdsman. To look at them, and to stop them:"
for command in status down; do
    printf "%s --models-dir %s --state-dir %s %s\n" "$program" "$root/models.d" "$root/.quickstart/state" "$command"
done
