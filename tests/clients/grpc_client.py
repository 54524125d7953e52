"""One call through gRPC: grpc_client.py whole|stream|gather|talk|fail PROMPT HOLD

Of `stream`, `gather` and `talk` the first sends one message and gets many, the second the reverse, the third answers
each message before it gets the next.
"""

import json
import pathlib
import queue
import sys

import grpc

mode, prompt, hold = sys.argv[1:]
method = {"whole": "Say", "stream": "Tell", "gather": "Gather", "talk": "Talk", "fail": "Fail"}[mode]
channel = grpc.secure_channel("api.openai.com:443", grpc.ssl_channel_credentials())
options = {"metadata": (("x-lab-note", "kept"), ("x-lab-hold", hold)), "timeout": 90}
kinds = {"Tell": channel.unary_stream, "Gather": channel.stream_unary, "Talk": channel.stream_stream}
call = kinds.get(method, channel.unary_unary)("/lab.Echo/" + method)
message = prompt.encode()


def words():
    yield from message.split(b" ")


def conversation():
    """Says a word, listens, says the next."""
    said = queue.SimpleQueue()
    heard = call(iter(said.get, None), **options)
    for word in words():
        said.put(word)
        yield next(heard)
    said.put(None)
    assert next(heard, None) is None
    finished.append(heard)


finished, answers = [], []
status, details = grpc.StatusCode.OK, ""
try:
    if mode == "talk":
        answers = list(conversation())
    elif mode == "stream":
        finished.append(call(message, **options))
        for answer in finished[0]:
            pathlib.Path(hold).touch()
            answers.append(answer)
    else:
        answer, ended = call.with_call(words() if mode == "gather" else message, **options)
        answers, finished = [answer], [ended]
except grpc.RpcError as error:
    status, details = error.code(), error.details()
trailers = dict(finished[0].trailing_metadata()) if finished and status is grpc.StatusCode.OK else {}
print(
    json.dumps(
        {
            "text": b" ".join(answers).decode(),
            "pieces": len(answers),
            "status": status.name,
            "details": details,
            "note": trailers.get("x-lab-note"),
        }
    )
)
channel.close()
