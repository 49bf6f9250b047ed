"""A network between labels and SuperLink that fails: `python -m tests.soak.proxy LISTEN TARGET`, ports of the loopback.

SIGUSR1 stops everything that passes, and lets it pass again; SIGUSR2 resets all connections.
"""

import asyncio
import signal
import socket
import struct
import sys
from contextlib import suppress

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


class Network:
    """Passes bytes on, in both directions."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._open: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        if self._passes.is_set():
            self._passes.clear()
        else:
            self._passes.set()

    def reset(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            _reset(writer)  # nearest to a refusal
            return
        ends = {writer, there[1]}
        self._open |= ends
        try:
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof() if writer.can_write_eof() else writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(listen: int, target: int) -> None:
    network, loop = Network(target), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, network.stall)
    loop.add_signal_handler(signal.SIGUSR2, network.reset)
    server = await asyncio.start_server(network.serve, LOOPBACK, listen, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
