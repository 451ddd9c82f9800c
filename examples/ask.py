#!/usr/bin/env python3
"""Asks every running model: herdsman status --format json | examples/ask.py

A chat model is asked for a few words, an embedding model for a vector. With
--pids it prints the name and pid of each running model instead. Standard
library only.
"""

import json
import sys
import urllib.error
import urllib.request

# A server on this machine is asked directly, whatever proxy the environment names.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with direct.open(request, timeout=60) as answer:
        return json.load(answer)


def ask(url):
    try:
        vector = post(f"{url}/v1/embeddings", {"input": "hello"})["data"][0]["embedding"]
        return f"embeds in {len(vector)} dimensions"
    except urllib.error.HTTPError as refused:
        # 501: started without `--embedding`. One with it can chat as well, so
        # this question comes first.
        if refused.code != 501:
            raise
    question = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 3}
    choice = post(f"{url}/v1/chat/completions", question)["choices"][0]
    return f"says {choice['message']['content']!r}"


running = [model for model in json.load(sys.stdin)["models"] if model["status"] == "running"]
if not running:
    sys.exit("ask.py: no model is running")
for model in running:
    if "--pids" in sys.argv[1:]:
        print(model["name"], model["pid"])
        continue
    try:
        print(f"{model['name']:<12} {model['url']}  {ask(model['url'])}")
    except (OSError, KeyError, ValueError) as problem:
        sys.exit(f"ask.py: {model['name']} at {model['url']} gave no answer: {problem}")
