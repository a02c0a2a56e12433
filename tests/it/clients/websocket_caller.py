"""Everything that a WebSocket client does, against the app beside this file."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SCHEME, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


def dial(path="/chat?room=1", **more):
    context = None
    if SCHEME == "wss":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
    return connect(
        f"{SCHEME}://{HOST}{path}",
        host="127.0.0.1",
        port=PORT,
        ssl=context,
        proxy=None,
        max_size=None,
        subprotocols=["chat"],
        **more,
    )


async def messages():
    async with dial() as socket:
        assert socket.subprotocol == "chat"
        assert socket.response.headers["x-ignite-execution-id"]
        assert "permessage-deflate" in socket.response.headers["sec-websocket-extensions"]
        for message in ["text", "ünïcödé", b"\x00\xff", "", os.urandom(1 << 20), "x" * (1 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(iter(["in ", "three ", "pieces"]))
        assert await socket.recv() == "in three pieces"
        await socket.send("pieces")
        pieces = [piece async for piece in socket.recv_streaming()]
        assert "".join(pieces) == "one two three" and len(pieces) > 1, pieces
        await (await socket.ping(b"are you there?"))


async def closes():
    async with dial(compression=None) as socket:
        await socket.send("close")
        try:
            await socket.recv()
            raise AssertionError("it goes on")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish")
    socket = await dial()
    await socket.close(1000, "enough")
    assert socket.close_code == 1000


async def refused():
    try:
        async with dial(additional_headers={"Sec-WebSocket-Version": "99"}):
            raise AssertionError("it was opened")
    except InvalidStatus as status:
        assert status.response.status_code in (400, 426), status.response


async def one_of_many(number):
    async with dial() as socket:
        for turn in range(20):
            await socket.send(f"{number} {turn}")
            assert await socket.recv() == f"{number} {turn}"
        await socket.send("count")
        assert await socket.recv() == "21"


async def main():
    await messages()
    await closes()
    await refused()
    await asyncio.gather(*(one_of_many(number) for number in range(50)))
    print("all good")


asyncio.run(main())
