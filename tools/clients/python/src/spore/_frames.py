"""ttrpc's frames and spored's envelope around a call; no input or output of its own.

A frame is 4 bytes of length, 4 of stream id, 1 of type (1 request, 2 response) and 1 of flags, all
big endian, and then the message (https://github.com/containerd/ttrpc, PROTOCOL.md).
"""
from __future__ import annotations

import os
import struct
from typing import Optional, Tuple, Type, TypeVar

from . import messages
from ._wire import Message, WireError
from .errors import ConnectionFailed, call_error

_HEADER = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
MAX_MESSAGE = 4 << 20
# A payload above this travels as a memfd beside the message.
INLINE_PAYLOAD = 1 << 20
DEFAULT_SOCKET = "/run/spore/spored.sock"
MAX_DESCRIPTORS = 16

_M = TypeVar("_M", bound=Message)


def socket_path(given: Optional[str]) -> str:
    return given or os.environ.get("SPORE_SOCKET") or DEFAULT_SOCKET


def request_frame(service: str, method: str, request: Message, timeout: Optional[float],
                  stream: int) -> bytes:
    envelope = messages.TtrpcRequest(
        service="spore.v1." + service, method=method, payload=request.to_bytes(),
        timeout_nano=0 if timeout is None else max(1, int(timeout * 1e9)))
    body = envelope.to_bytes()
    if len(body) > MAX_MESSAGE:
        raise ValueError(f"the request of {method} has {len(body)} bytes; a message holds at most "
                         f"{MAX_MESSAGE}")
    return _HEADER.pack(len(body), stream, _REQUEST, 0) + body


class ResponseReader:
    """Takes bytes as they come, until it has the one response that is waited for."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._data = bytearray()

    def feed(self, data: bytes) -> Optional[bytes]:
        """The response's payload when it is complete; raises when it is an error."""
        self._data += data
        if len(self._data) < _HEADER.size:
            return None
        length, stream, kind, _ = _HEADER.unpack_from(self._data)
        if kind != _RESPONSE or stream != self._stream or length > MAX_MESSAGE + 4096:
            raise ConnectionFailed("what came from the socket is no answer of spored")
        if len(self._data) < _HEADER.size + length:
            return None
        try:
            response = messages.TtrpcResponse.from_bytes(bytes(self._data[_HEADER.size:]))
        except WireError as error:
            raise ConnectionFailed(f"spored's answer cannot be read: {error}") from error
        if response.status and response.status.code:
            raise call_error(response.status.code, response.status.message)
        return response.payload


def parse(response: Type[_M], payload: bytes) -> _M:
    try:
        return response.from_bytes(payload)
    except WireError as error:
        raise ConnectionFailed(f"spored's answer cannot be read: {error}") from error


def unreachable(path: str, error: OSError) -> ConnectionFailed:
    hint = ""
    if isinstance(error, FileNotFoundError):
        hint = ": is spored running? (systemctl status spored; SPORE_SOCKET names another socket)"
    elif isinstance(error, PermissionError):
        hint = ": only root and members of the socket's group may use it"
    return ConnectionFailed(f"connect to {path}: {error.strerror}{hint}")


LOST = "spored closed the connection before it answered"
Answer = Tuple[bytes, list]
