"""OpenAI's own client, as programs use it.

    openai_client.py FLOW BASE_URL [MODEL...]      OPENAI_API_KEY is the key

Prints what it got, for the test to compare. The client does not retry here, so
that no failure is hidden.
"""

import sys

import httpx
import openai

ASK = [{"role": "user", "content": "What do you say?"}]


def say(*words):
    print(*words, flush=True)


def text(answer):
    return repr(answer.choices[0].message.content)


def answers(client, chat, embed):
    """Each kind of request once: a program that knows nothing but the address."""
    say("models:", *sorted(model.id for model in client.models.list()))
    answer = client.chat.completions.create(model=chat, messages=ASK, max_tokens=3)
    say("chat:", answer.model, text(answer), answer.choices[0].finish_reason, answer.usage.completion_tokens)

    stream = client.chat.completions.create(
        model=chat, messages=ASK, max_tokens=3, stream=True, stream_options={"include_usage": True}
    )
    words, usage = [], None
    for chunk in stream:
        words += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    say("stream:", words, usage.completion_tokens)

    say("completion:", repr(client.completions.create(model=chat, prompt="Say", max_tokens=2).choices[0].text))
    say("response:", repr(client.responses.create(model=chat, input="Say", max_output_tokens=2).output_text))
    # `responses.stream` adds the events up and fails on llama-server's own.
    stream = client.responses.create(model=chat, input="Say", max_output_tokens=2, stream=True)
    words = [event.delta for event in stream if event.type == "response.output_text.delta"]
    say("response stream:", words)

    rows = client.embeddings.create(model=embed, input=["one", "two"]).data
    say("embeddings:", [row.index for row in rows], len(rows[0].embedding), rows[0].embedding != rows[1].embedding)


def one(client, model):
    """One question."""
    say("chat:", text(client.chat.completions.create(model=model, messages=ASK, max_tokens=2)))


def refused(client, model):
    """A request that fails: the exception that a program would catch."""
    for stream in [False, True]:
        try:
            client.chat.completions.create(model=model, messages=ASK, max_tokens=2, stream=stream)
        except openai.APIStatusError as error:
            say(type(error).__name__, error.status_code, error.type, error.code)
            say(error.body["message"])
        else:
            say("no error")


def gives_up(client, model):
    """The client's own time runs out, then it leaves a stream; it goes on asking."""
    try:
        client.with_options(timeout=0.3).chat.completions.create(model=model, messages=ASK, max_tokens=400)
    except openai.APITimeoutError as error:
        say(type(error).__name__)
    stream = client.chat.completions.create(model=model, messages=ASK, max_tokens=400, stream=True)
    next(iter(stream))
    stream.close()
    say("left the stream after its first event")
    one(client, model)


def broken(client, model):
    """A stream whose server dies after the test has read `streaming`."""
    stream = client.chat.completions.create(model=model, messages=ASK, stream=True)
    next(iter(stream))
    say("streaming")
    try:
        for _ in stream:
            pass
    except (openai.APIError, httpx.HTTPError) as error:
        say("broken:", type(error).__name__)
        say(error)
    else:
        say("ended as if it were whole")


FLOWS = {flow.__name__: flow for flow in [answers, one, refused, gives_up, broken]}

if __name__ == "__main__":
    flow, base_url, *models = sys.argv[1:]
    with openai.OpenAI(base_url=f"{base_url}/v1", max_retries=0, timeout=60) as client:
        FLOWS[flow](client, *models)
