"""One connection to spored's socket that blocks. The one for asyncio is _async/connection.py."""
from __future__ import annotations

import array
import os
import socket
from typing import List, Optional, Sequence, Tuple

from .. import _frames
from .._wire import Message
from ..errors import ConnectionFailed


class Connection:
    """One call at a time. Whoever stops waiting for an answer closes it: spored then cancels."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: Optional[socket.socket] = None
        self._stream = 1

    def open(self) -> None:
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.connect(self._path)
        except OSError as error:
            connecting.close()
            raise _frames.unreachable(self._path, error) from error
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

    def call(self, service: str, method: str, request: Message, timeout: Optional[float],
             descriptors: Sequence[int]) -> Tuple[bytes, List[int]]:
        """The answer's payload, and the descriptors that came along, which are the caller's."""
        assert self._socket is not None
        stream, self._stream = self._stream, self._stream + 2
        frame = _frames.request_frame(service, method, request, timeout, stream)
        received: List[int] = []
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            sent = self._socket.sendmsg([frame], rights if descriptors else [])
            self._socket.sendall(frame[sent:])
            reader = _frames.ResponseReader(stream)
            while True:
                payload = reader.feed(self._receive(received))
                if payload is not None:
                    return payload, received
        except BaseException as error:
            for descriptor in received:
                os.close(descriptor)
            if isinstance(error, OSError) and not isinstance(error, ConnectionFailed):
                raise ConnectionFailed(f"{_frames.LOST} ({error.strerror})") from error
            raise

    def _receive(self, received: List[int]) -> bytes:
        assert self._socket is not None
        data, ancillary, _, _ = self._socket.recvmsg(
            1 << 18, socket.CMSG_SPACE(4 * _frames.MAX_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
                received.extend(fds)
        if not data:
            raise ConnectionFailed(_frames.LOST)
        return data
