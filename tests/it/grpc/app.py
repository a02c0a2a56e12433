"""A gRPC server of methods that take and give plain bytes; its first line is its port."""

import threading
import time
from concurrent import futures

import grpc

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

instance = 0
begun = 0
ended = 0
counting = threading.Lock()


def unary(request, context):
    return request


def metadata(request, context):
    """Gives the caller's `ask-…` metadata back, before and behind the message."""
    asked = [(key, value) for key, value in context.invocation_metadata() if key.startswith("ask-")]
    context.send_initial_metadata(asked)
    context.set_trailing_metadata([("end-" + key, value) for key, value in asked])
    keys = {key for key, _ in context.invocation_metadata()}
    return b" ".join(sorted(key.encode() for key in keys if key.startswith("x-ignite-")))


def fail(request, context):
    context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x05\x00\xff")])
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here: 100 % \u2603\n")


def fail_late(request, context):
    yield b"first"
    fail(request, context)


def collect(requests, context):
    return b",".join(str(len(request)).encode() for request in requests)


def count(request, context):
    number, size = (int(word) for word in request.split())
    for index in range(number):
        yield bytes([index % 256]) * size


def echo(requests, context):
    yield from requests


def begin_wait(context):
    def end():
        global ended
        with counting:
            ended += 1

    global begun
    with counting:
        begun += 1
    # False if the call is over already.
    if not context.add_callback(end):
        end()


def wait(request, context):
    begin_wait(context)
    while context.is_active():
        time.sleep(0.01)
    return b""


def wait_late(request, context):
    begin_wait(context)
    yield b"first"
    while context.is_active():
        time.sleep(0.01)


def waits(request, context):
    return f"{begun} {ended}".encode()


def remaining(request, context):
    return str(context.time_remaining()).encode()


def linger(request, context):
    """Is under way while the server that it came to stops."""
    yield b"first"
    before = instance
    while instance == before:
        time.sleep(0.01)
    time.sleep(0.2)
    yield b"last"


def restart(request, context):
    """Another server takes the port over; this one says goodbye and ends what it has."""
    global server, instance
    old = server
    server = serve(port)
    instance += 1
    # Both are over before this answer leaves: the library cancels calls that cross its goodbye,
    # and resets connections that it has taken while it closes its socket.
    old.stop(10)
    time.sleep(0.1)
    return b""


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "WaitLate": grpc.unary_stream_rpc_method_handler(wait_late),
    "Waits": grpc.unary_unary_rpc_method_handler(waits),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Linger": grpc.unary_stream_rpc_method_handler(linger),
    "Restart": grpc.unary_unary_rpc_method_handler(restart),
}


def serve(wanted):
    global port
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", METHODS),))
    port = server.add_insecure_port(f"127.0.0.1:{wanted}")
    server.start()
    return server


port = 0
server = serve(0)
print(port, flush=True)
threading.Event().wait()
