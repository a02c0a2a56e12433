"""Echoes messages; `close` is answered by a close frame, `count` by how many there were."""

import asyncio

from websockets.asyncio.server import serve


async def talk(socket):
    assert socket.request.path == "/chat?room=1", socket.request.path
    assert socket.request.headers["x-ignite-function-id"] == "acme/hello"
    count = 0
    async for message in socket:
        count += 1
        if message == "close":
            await socket.close(4001, "as you wish")
        elif message == "count":
            await socket.send(str(count))
        elif message == "pieces":
            await socket.send(iter(["one ", "two ", "three"]))
        else:
            await socket.send(message)


async def main():
    async with serve(talk, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
