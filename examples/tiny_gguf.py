#!/usr/bin/env python3
"""Writes tiny models for llama-server, so that herdsman can be tried without a download.

    examples/tiny_gguf.py hello.gguf "hello "   # a model that says "hello hello hello …"
    examples/tiny_gguf.py --set weights         # the weights that ./models.d needs

A model of 25 KB has one thing to say: every token it generates is its whole
text. With `--embedding --pooling mean` llama-server embeds with it, too.
Standard library only.

How it works: every token's embedding is 16 numbers, the first of them 1. The
one transformer block is all zeros and passes it on unchanged. The output matrix
looks at that first number only and gives the text's token +20 and every other
token -8. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import os
import sys
from struct import pack

# File and text of the weights that models.d names.
SET = {"tiny-chat.gguf": "hello ", "tiny-embed.gguf": "embed ", "tiny-spare.gguf": "spare "}

WIDTH = 16
ALIGNMENT = 32
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9  # gguf_metadata_value_type
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # llama_token_type
FLOATS, HALVES = (0, "f"), (1, "e")  # ggml_type, and how struct packs it


def string(value):
    data = value.encode()
    return pack("<Q", len(data)) + data


def key(name, kind, value):
    return string(name) + pack("<I", kind) + value


def array(name, kind, values):
    return key(name, ARRAY, pack("<IQ", kind, len(values)) + b"".join(values))


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)


def vocabulary(text):
    """Three specials, one token for each byte, the space, and the text as the last one."""
    tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    # SentencePiece writes a space as U+2581.
    tokens += [("\u2581", NORMAL), (text.replace(" ", "\u2581"), NORMAL)]
    if not text or len({token for token, _ in tokens}) < len(tokens):
        sys.exit(f"tiny_gguf.py: {text!r} cannot be the text: take one that is not empty and not a token already")
    return tokens


def tensors(count):
    """Name, dimensions, type and elements, in the order of the file."""
    signs = [[-1 if token >> (column - 1) & 1 else 1 for column in range(1, WIDTH)] for token in range(count)]
    embeddings = [number for row in signs for number in [1, *row]]
    output = [number for token in range(count) for number in [20 if token + 1 == count else -8] + [0] * (WIDTH - 1)]
    yield "token_embd.weight", (WIDTH, count), HALVES, embeddings
    yield "output_norm.weight", (WIDTH,), FLOATS, [1] * WIDTH
    yield "output.weight", (WIDTH, count), HALVES, output
    for part in ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]:
        shape, kind = ((WIDTH,), FLOATS) if part.endswith("norm") else ((WIDTH, WIDTH), HALVES)
        yield f"blk.0.{part}.weight", shape, kind, [0] * WIDTH ** len(shape)


def gguf(name, text):
    tokens = vocabulary(text)
    keys = [
        key("general.architecture", STRING, string("llama")),
        key("general.name", STRING, string(name)),
        key("llama.context_length", U32, pack("<I", 4096)),
        key("llama.embedding_length", U32, pack("<I", WIDTH)),
        key("llama.block_count", U32, pack("<I", 1)),
        key("llama.feed_forward_length", U32, pack("<I", WIDTH)),
        key("llama.attention.head_count", U32, pack("<I", 1)),
        key("llama.attention.layer_norm_rms_epsilon", F32, pack("<f", 1e-5)),
        key("tokenizer.ggml.model", STRING, string("llama")),
        array("tokenizer.ggml.tokens", STRING, [string(token) for token, _ in tokens]),
        array("tokenizer.ggml.token_type", I32, [pack("<i", kind) for _, kind in tokens]),
        array("tokenizer.ggml.scores", F32, [pack("<f", 0)] * len(tokens)),
        key("tokenizer.ggml.bos_token_id", U32, pack("<I", 1)),
        key("tokenizer.ggml.eos_token_id", U32, pack("<I", 2)),
    ]
    infos, data = [], b""
    for tensor, shape, (kind, element), numbers in tensors(len(tokens)):
        infos.append(string(tensor) + pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data)))
        data += padded(pack(f"<{len(numbers)}{element}", *numbers))
    head = b"GGUF" + pack("<IQQ", 3, len(infos), len(keys)) + b"".join(keys + infos)
    return padded(head) + data


def write(path, name, text):
    # By rename: a server that has the old file mapped keeps it.
    partial = f"{path}.partial-{os.getpid()}"
    with open(partial, "wb") as file:
        file.write(gguf(name, text))
    os.replace(partial, path)
    print(f"{path} written, {os.path.getsize(path)} bytes")


def write_set(directory):
    os.makedirs(directory, exist_ok=True)
    for file, text in SET.items():
        path = os.path.join(directory, file)
        # A new file, even of the same content, is a changed model to herdsman.
        if os.path.exists(path):
            print(f"{path} is there already")
        else:
            write(path, file.removesuffix(".gguf"), text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1].strip("\n"))
    first, second = sys.argv[1:]
    if first == "--set":
        write_set(second)
    else:
        write(first, "tiny", second)
