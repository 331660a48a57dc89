"""The PyPI `websockets` server: echoes messages, obeys a few words, and prints what becomes of each connection. Argument: the port."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


def say(text):
    print(text, flush=True)


async def echo(socket):
    path = socket.request.path
    say(f"open {path} user={socket.request.headers.get('Remote-User', '-')}")
    try:
        async for message in socket:
            said = message if isinstance(message, str) else ""
            if said == "please terminate":
                socket.transport.abort()
            elif said.startswith("please close "):
                _, _, code, *reason = said.split(" ")
                await socket.close(int(code), " ".join(reason))
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    finally:
        await socket.wait_closed()
        say(f"close {path} {socket.close_code}")


def choose(_, offered):
    return "chat.v2" if "chat.v2" in offered else None


async def main():
    async with serve(
        echo, "127.0.0.1", int(sys.argv[1]), ping_interval=None, max_size=None, select_subprotocol=choose,
        extensions=[ServerPerMessageDeflateFactory()], compression=None,
    ) as server:  # fmt: skip
        await server.serve_forever()


asyncio.run(main())
