"""Calls through the gateway, one scenario for each test: `caller.py PORT HOST SCENARIO [CA]`.

With the certificate of an authority it calls over TLS.
"""

import faulthandler
import sys
import threading
import time

import grpc

LIMIT = 20
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
Code = grpc.StatusCode


def connect(host=None):
    options = [*OPTIONS, ("grpc.default_authority", host or HOST)]
    target = f"127.0.0.1:{PORT}"
    if not CA:
        return grpc.insecure_channel(target, options=options)
    with open(CA[0], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options.append(("grpc.ssl_target_name_override", host or HOST))
    return grpc.secure_channel(target, credentials, options=options)


class Methods:
    """The test app's methods on a channel."""

    def __init__(self, channel):
        def unary(name):
            return channel.unary_unary("/test.Test/" + name)

        def stream(name):
            return channel.unary_stream("/test.Test/" + name)

        self.unary, self.metadata, self.fail = unary("Unary"), unary("Metadata"), unary("Fail")
        self.wait, self.waits = unary("Wait"), unary("Waits")
        self.remaining, self.restart = unary("Remaining"), unary("Restart")
        self.fail_late, self.count = stream("FailLate"), stream("Count")
        self.wait_late, self.linger = stream("WaitLate"), stream("Linger")
        self.collect = channel.stream_unary("/test.Test/Collect")
        self.echo = channel.stream_stream("/test.Test/Echo")
        self.missing = unary("Missing")


def failure(call):
    """The error that a call ends with."""
    try:
        result = call()
        if not isinstance(result, bytes):
            list(result)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


def expect(code, call):
    error = failure(call)
    assert error.code() == code, (error.code(), error.details())
    return error


def kinds(methods):
    assert methods.unary(b"hello", timeout=LIMIT) == b"hello"
    assert methods.unary(b"", timeout=LIMIT) == b""
    lengths = [0, 1, 1000, 100_000]
    joined = methods.collect((bytes(length) for length in lengths), timeout=LIMIT)
    assert joined == b"0,1,1000,100000", joined
    counted = list(methods.count(b"300 5", timeout=LIMIT))
    assert counted == [bytes([index % 256]) * 5 for index in range(300)]
    assert list(methods.count(b"0 0", timeout=LIMIT)) == []

    # Each message is sent when the one before has come back.
    turn = threading.Semaphore(1)

    def messages():
        for index in range(50):
            assert turn.acquire(timeout=LIMIT)
            yield str(index).encode()

    echoed = []
    for message in methods.echo(messages(), timeout=LIMIT):
        echoed.append(message)
        turn.release()
    assert echoed == [str(index).encode() for index in range(50)]
    error = expect(Code.UNIMPLEMENTED, lambda: methods.missing(b"", timeout=LIMIT))
    assert "Method not found" in error.details(), error.details()


def metadata(methods):
    asked = [
        ("ask-text", "a b=c; d"),
        ("ask-twice", "one"),
        ("ask-twice", "two"),
        ("ask-raw-bin", bytes(range(256))),
        ("ask-long", "x" * 5000),
    ]
    forged = [("x-ignite-function-id", "evil/evil")]
    reserved, call = methods.metadata.with_call(b"", metadata=asked + forged, timeout=LIMIT)
    names = b"x-ignite-execution-id x-ignite-function-id x-ignite-organization-id"
    assert reserved == names, reserved

    def told(pairs, prefix):
        return sorted((key, value) for key, value in pairs if key.startswith(prefix))

    initial, trailing = call.initial_metadata(), call.trailing_metadata()
    assert told(initial, "ask-") == sorted(asked), initial
    assert told(trailing, "end-") == sorted(("end-" + key, value) for key, value in asked), trailing
    assert [len(value) for key, value in initial if key == "x-ignite-execution-id"] == [36]


def status(methods):
    late = methods.fail_late(b"", timeout=LIMIT)
    assert next(late) == b"first"
    for call in (lambda: methods.fail(b"", timeout=LIMIT), lambda: late):
        error = expect(Code.NOT_FOUND, call)
        assert error.details() == "nothing here: 100 % \u2603\n", error.details()
        assert ("grpc-status-details-bin", b"\x08\x05\x00\xff") in error.trailing_metadata()


def large(methods):
    message = bytes(range(256)) * (8 << 12)
    assert methods.unary(message, timeout=LIMIT) == message
    assert methods.collect(iter([message] * 4), timeout=LIMIT) == b",".join([b"8388608"] * 4)
    come = [len(part) for part in methods.count(b"32 1048576", timeout=LIMIT)]
    assert come == [1 << 20] * 32
    assert [len(part) for part in methods.echo(iter([message] * 4), timeout=LIMIT)] == [8 << 20] * 4


def concurrent(methods):
    channels = [connect() for _ in range(4)]
    on_channels = [Methods(channel) for channel in channels]
    for _ in range(3):
        calls = []
        for index in range(600):
            message = str(index).encode() * (index % 50)
            future = on_channels[index % 4].unary.future(message, timeout=LIMIT)
            calls.append((message, future))
        for message, future in calls:
            assert future.result() == message
    for channel in channels:
        channel.close()


def eventually(methods, begun, ended):
    """Waits until so many calls have begun to wait in the app, and so many of them have ended."""
    start = time.monotonic()
    while (seen := methods.waits(b"", timeout=LIMIT)) != f"{begun} {ended}".encode():
        assert time.monotonic() - start < LIMIT, f"the app saw {seen}, not {begun} and {ended}"
        time.sleep(0.01)


def deadlines(methods):
    assert float(methods.remaining(b"")) > 1e6, "no deadline is made up"
    left = float(methods.remaining(b"", timeout=LIMIT))
    assert LIMIT - 5 < left < LIMIT + 1, left
    for call in (methods.wait, methods.wait_late):
        start = time.monotonic()
        expect(Code.DEADLINE_EXCEEDED, lambda: call(b"", timeout=1))
        assert 0.9 < time.monotonic() - start < 10
    eventually(methods, 2, 2)


def cancellation(methods):
    future = methods.wait.future(b"", timeout=LIMIT)
    late = methods.wait_late(b"", timeout=LIMIT)
    assert next(late) == b"first"
    eventually(methods, 2, 0)
    late.cancel()
    future.cancel()
    assert failure(lambda: late).code() == Code.CANCELLED
    assert future.cancelled()
    eventually(methods, 2, 2)

    # A caller that leaves altogether.
    channel = connect()
    late = Methods(channel).wait_late(b"", timeout=LIMIT)
    assert next(late) == b"first"
    channel.close()
    eventually(methods, 3, 3)


def goodbye(methods):
    """Calls in a row and a stream that is under way, while the app restarts."""
    for _ in range(5):
        linger = methods.linger(b"", timeout=LIMIT)
        assert next(linger) == b"first"
        methods.restart(b"", timeout=LIMIT)
        for index in range(100):
            assert methods.unary(str(index).encode(), timeout=LIMIT) == str(index).encode()
        assert list(linger) == [b"last"]


def gateways_own(methods):
    unknown = Methods(connect("nobody.ignite.test"))
    error = expect(Code.UNIMPLEMENTED, lambda: unknown.unary(b"", timeout=LIMIT))
    assert error.details().startswith("No app answers at this host."), error.details()
    told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    assert len(told["x-ignite-execution-id"]) == 36, told
    error = expect(Code.UNIMPLEMENTED, lambda: unknown.count(b"1 1", timeout=LIMIT))
    # Over the configured limits.
    error = expect(Code.RESOURCE_EXHAUSTED, lambda: methods.unary(bytes(2 << 20), timeout=LIMIT))
    assert "larger than 1048576 bytes" in error.details(), error.details()
    error = expect(Code.DEADLINE_EXCEEDED, lambda: methods.wait(b""))
    assert error.details() == "The app did not answer in time.", error.details()


def unavailable(methods):
    error = expect(Code.UNAVAILABLE, lambda: methods.unary(b"", timeout=LIMIT))
    assert error.details() == "The app refused the connection.", error.details()


faulthandler.dump_traceback_later(60, exit=True)
PORT, HOST, SCENARIO, *CA = sys.argv[1:]
with connect() as shared:
    globals()[SCENARIO](Methods(shared))
