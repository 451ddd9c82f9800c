#!/usr/bin/env python3
"""Takes the picture of herdsman's page that README shows.

    cargo build && tests/clients/picture.py          writes examples/page.png

Serves a few tiny models, uses them a little, and takes the picture with the clients and
the browser of the tests. Standard library only; the rest
installs itself (tests/clients/install.sh, examples/llama-server.sh).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PICTURE = ROOT / "examples/page.png"
LARGEST = 150_000  # bytes
SIZE = {"width": 1280, "height": 400}

SMALL = "[parameters]\nctx_size = 4096\nthreads = 1\n"
DEFINITIONS = {
    "chat": SMALL,
    "embeddings": f'{SMALL}embedding = true\npooling = "mean"\n',
    "code": f'state = "on_demand"\n{SMALL}',
    "translate": f'state = "on_demand"\n{SMALL}',
    "chat-next": SMALL,
}
# Its weights are of an architecture that llama-server does not know.
TOO_NEW = "chat-next"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def installed(what):
    return output("sh", HERE / "install.sh", what)


def write_models(folder):
    (folder / "models.d").mkdir()
    (folder / "weights").mkdir()
    for name, rest in DEFINITIONS.items():
        weights = folder / "weights" / f"{name}.gguf"
        output(sys.executable, ROOT / "examples/tiny_gguf.py", weights, "word ")
        if name == TOO_NEW:
            weights.write_bytes(weights.read_bytes().replace(b"llama", b"qwen9", 1))
        (folder / "models.d" / f"{name}.toml").write_text(f'model = "../weights/{name}.gguf"\n{rest}')


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def served(folder):
    """The address of a herdsman that serves the models of `folder`, and its servers' end."""
    target = json.loads(output("cargo", "metadata", "--format-version", "1", "--no-deps", "--manifest-path", ROOT / "Cargo.toml"))
    address = f"127.0.0.1:{free_port()}"
    herdsman = [
        Path(target["target_directory"]) / "debug/herdsman", "--models-dir", "models.d", "--state-dir", "state",
        "--settings", "herdsman.toml", "--llama-server", output("sh", ROOT / "examples/llama-server.sh"),
    ]  # fmt: skip
    (folder / "herdsman.toml").write_text("[serve]\nedit = true\n")
    with open(folder / "log", "w") as log:
        watcher = subprocess.Popen([*herdsman, "watch", "--listen", address], cwd=folder, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            watcher.send_signal(signal.SIGTERM)
            watcher.wait()
            subprocess.run([*herdsman, "down"], cwd=folder, stdout=subprocess.DEVNULL, check=True)


def use(url, path, **body):
    request = urllib.request.Request(f"{url}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        answer.read()


def take(url):
    from page_parts import row as row_of
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        browser = playwright.chromium.launch(executable_path=installed("chromium"), chromium_sandbox=os.geteuid() != 0)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        expect.set_options(timeout=60_000)
        page.goto(url)
        for name, status in [("chat", "running"), ("embeddings", "running"), ("code", "on demand"), (TOO_NEW, "error")]:
            expect(row_of(page, name).locator(".status")).to_contain_text(status)
        expect(row_of(page, TOO_NEW)).to_contain_text("unknown model architecture")
        use(url, "completions", model="chat", prompt="word", max_tokens=200)
        use(url, "embeddings", model="embeddings", input="word")
        expect(row_of(page, "chat").locator(".speed")).not_to_be_empty()
        expect(row_of(page, "embeddings").locator(".memory")).not_to_be_empty()
        page.screenshot(path=PICTURE)
        browser.close()


def main():
    sys.path.insert(0, installed("sdks"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        with served(folder) as url:
            take(url)
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(ROOT)}: {size} bytes")
    if size > LARGEST:
        sys.exit(f"picture.py: more than {LARGEST} bytes; make SIZE smaller")


if __name__ == "__main__":
    main()
