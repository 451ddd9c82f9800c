"""Anthropic's own client, as programs use it.

    anthropic_client.py FLOW BASE_URL [MODEL...]      ANTHROPIC_API_KEY is the key

Prints what it got, for the test to compare. The client does not retry here, so
that no failure is hidden.
"""

import sys

import anthropic
import httpx

ASK = [{"role": "user", "content": "What do you say?"}]


def say(*words):
    print(*words, flush=True)


def answers(client, model):
    """Each kind of request once."""
    answer = client.messages.create(model=model, messages=ASK, max_tokens=3)
    say("message:", answer.model, [block.text for block in answer.content], answer.stop_reason, answer.usage.output_tokens)

    with client.messages.stream(model=model, messages=ASK, max_tokens=3) as stream:
        words = list(stream.text_stream)
        whole = stream.get_final_message()
    say("stream:", words, whole.stop_reason, whole.usage.output_tokens)

    count = client.messages.count_tokens(model=model, messages=ASK).input_tokens
    say("tokens:", count == answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0))


def refused(client, model):
    """A request that fails: the exception that a program would catch."""
    for stream in [False, True]:
        try:
            client.messages.create(model=model, messages=ASK, max_tokens=2, stream=stream)
        except anthropic.APIStatusError as error:
            say(type(error).__name__, error.status_code, error.body.get("type"), error.body["error"]["type"])
            say(error.body["error"]["message"])
        else:
            say("no error")


def broken(client, model):
    """A stream whose server dies after the test has read `streaming`."""
    with client.messages.stream(model=model, messages=ASK, max_tokens=10000) as stream:
        next(stream.text_stream)
        say("streaming")
        try:
            for _ in stream:
                pass
        except (anthropic.APIError, httpx.HTTPError) as error:
            say("broken:", type(error).__name__)
            say(error)
        else:
            say("ended as if it were whole")


FLOWS = {flow.__name__: flow for flow in [answers, refused, broken]}

if __name__ == "__main__":
    flow, base_url, *models = sys.argv[1:]
    with anthropic.Anthropic(base_url=base_url, max_retries=0, timeout=60) as client:
        FLOWS[flow](client, *models)
