"""A gRPC server for the lab's --upstream, in plain HTTP/2: grpc_server.py

It prints the port it listens on, and serves until its standard input ends. Messages are bytes, so nothing has to be
generated. Whatever the call's field `x-lab-note` says comes back as a trailer.
"""

import pathlib
import sys
import time
from concurrent import futures

import grpc

PATIENCE_S = 60


def note(context):
    for name, value in context.invocation_metadata():
        if name == "x-lab-note":
            context.set_trailing_metadata((("x-lab-note", value),))


def wait_for(context):
    """Until the caller has seen the first message."""
    hold = dict(context.invocation_metadata())["x-lab-hold"]
    deadline = time.monotonic() + PATIENCE_S
    while not pathlib.Path(hold).exists():
        if time.monotonic() > deadline:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the first message was held back")
        time.sleep(0.01)


def say(request, context):
    note(context)
    return b"You said: " + request


def tell(request, context):
    """One message a word."""
    note(context)
    for index, word in enumerate((b"You said: " + request).split(b" ")):
        if index == 1:
            wait_for(context)
        yield word


def gather(requests, context):
    note(context)
    return b"You said: " + b" ".join(requests)


def talk(requests, context):
    """An answer to each message, before the next one is there."""
    note(context)
    for request in requests:
        yield b"You said: " + request


def fail(_, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as it was told: 100 %")


HANDLERS = {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Tell": grpc.unary_stream_rpc_method_handler(tell),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
}

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Echo", HANDLERS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
