"""One connection to spored's socket, for asyncio. The blocking one is _sync/connection.py."""
from __future__ import annotations

import array
import asyncio
import os
import socket
from typing import List, Optional, Sequence, Tuple

from .. import _frames
from .._wire import Message
from ..errors import ConnectionFailed


class AsyncConnection:
    """One call at a time. Whoever stops waiting for an answer closes it: spored then cancels."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: Optional[socket.socket] = None
        self._stream = 1

    async def open(self) -> None:
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connecting.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connecting, self._path)
        except OSError as error:
            connecting.close()
            raise _frames.unreachable(self._path, error) from error
        except BaseException:
            connecting.close()
            raise
        self._socket = connecting

    def stale(self) -> bool:
        """Whether it has ended, or has something to read that nobody asked for."""
        try:
            return self._socket is None or bool(
                self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) or True)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def call(self, service: str, method: str, request: Message, timeout: Optional[float],
                   descriptors: Sequence[int]) -> Tuple[bytes, List[int]]:
        """The answer's payload, and the descriptors that came along, which are the caller's."""
        stream, self._stream = self._stream, self._stream + 2
        frame = _frames.request_frame(service, method, request, timeout, stream)
        received: List[int] = []
        try:
            await self._send(frame, descriptors)
            reader = _frames.ResponseReader(stream)
            while True:
                payload = reader.feed(await self._receive(received))
                if payload is not None:
                    return payload, received
        except BaseException:
            for descriptor in received:
                os.close(descriptor)
            raise

    async def _send(self, frame: bytes, descriptors: Sequence[int]) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        try:
            if descriptors:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
                while True:
                    try:
                        sent = self._socket.sendmsg([frame], rights)
                        break
                    except BlockingIOError:
                        await _ready(loop.add_writer, loop.remove_writer, self._socket)
                frame = frame[sent:]
            await loop.sock_sendall(self._socket, frame)
        except OSError as error:
            raise ConnectionFailed(f"{_frames.LOST} ({error.strerror})") from error

    async def _receive(self, received: List[int]) -> bytes:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        space = socket.CMSG_SPACE(4 * _frames.MAX_DESCRIPTORS)
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 18, space,
                                                             socket.MSG_CMSG_CLOEXEC)
                break
            except BlockingIOError:
                await _ready(loop.add_reader, loop.remove_reader, self._socket)
            except OSError as error:
                raise ConnectionFailed(f"{_frames.LOST} ({error.strerror})") from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
                received.extend(fds)
        if not data:
            raise ConnectionFailed(_frames.LOST)
        return data


async def _ready(add, remove, waiting: socket.socket) -> None:  # type: ignore[no-untyped-def]
    event = asyncio.Event()
    add(waiting, event.set)
    try:
        await event.wait()
    finally:
        remove(waiting)
