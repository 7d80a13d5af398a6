"""A raw ttrpc client: correct calls, and every kind of incorrect one.

Frame: 4 bytes length, 4 bytes stream id, 1 byte type (1 request, 2 response), 1 byte flags, big
endian, then the message (ttrpc PROTOCOL.md).
"""
import array
import fcntl
import os
import re
import socket
import struct

import protobuf

REQUEST, RESPONSE = 1, 2
HEADER = struct.Struct(">IIBB")

CODES = {
    "INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "UNIMPLEMENTED": 12, "INTERNAL": 13,
    "UNAVAILABLE": 14,
}

# {"Functions": {"Deploy": ("DeployRequest", "Function"), ..}, ..}
SERVICES = {
    name: {m: (q, a) for m, q, a in re.findall(r"rpc (\w+)\((\w+)\) returns \((\w+)\)", body)}
    for name, body in re.findall(r"service (\w+) \{(.*?)\n\}", protobuf.TEXT, re.S)
}


class RpcError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def sealed_memfd(data, seals=True):
    descriptor = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(descriptor), "wb") as out:
        out.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return descriptor


def frame(stream, kind, body, flags=0, length=None):
    return HEADER.pack(len(body) if length is None else length, stream, kind, flags) + body


def envelope(service, method, payload):
    name = service if "." in service else f"spore.v1.{service}"
    return protobuf.encode("TtrpcRequest", {"service": name, "method": method, "payload": payload})


class Client:
    """One connection. Not for use by several threads."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.stream = 1
        self.received_fds = []
        self._data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        for descriptor in self.received_fds:
            os.close(descriptor)
        self.received_fds = []

    def next_stream(self):
        stream, self.stream = self.stream, self.stream + 2
        return stream

    def send_raw(self, data, fds=()):
        if not fds:
            self.socket.sendall(data)
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = self.socket.sendmsg([data], rights)
        self.socket.sendall(data[sent:])

    def send(self, service, method, values, fds=()):
        """Sends a request and returns its stream id."""
        payload = protobuf.encode(SERVICES[service][method][0], values)
        stream = self.next_stream()
        self.send_raw(frame(stream, REQUEST, envelope(service, method, payload)), fds)
        return stream

    def _fill(self, count):
        while len(self._data) < count:
            data, ancillary, _, _ = self.socket.recvmsg(
                1 << 20, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                    self.received_fds += fds
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            self._data += data

    def receive(self):
        """Returns (stream id, type, body) of the next frame."""
        self._fill(HEADER.size)
        length, stream, kind, _ = HEADER.unpack(self._data[: HEADER.size])
        self._fill(HEADER.size + length)
        body = self._data[HEADER.size : HEADER.size + length]
        self._data = self._data[HEADER.size + length :]
        return stream, kind, body

    def closed_by_peer(self):
        """Waits for the daemon's end to close; False when it sends something instead."""
        try:
            self.receive()
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    def answer(self, message, body):
        response = protobuf.decode("TtrpcResponse", body)
        if response["status"] and response["status"]["code"]:
            raise RpcError(response["status"]["code"], response["status"]["message"])
        return protobuf.decode(message, response["payload"])

    def call(self, service, method, values=None, fds=()):
        stream = self.send(service, method, values or {}, fds)
        got, kind, body = self.receive()
        assert (got, kind) == (stream, RESPONSE), f"answer to stream {got}, type {kind}"
        return self.answer(SERVICES[service][method][1], body)

    def error_of(self, service, method, values=None, fds=()):
        """The error that a call must end with."""
        try:
            result = self.call(service, method, values, fds)
        except RpcError as error:
            return error
        raise AssertionError(f"{service}.{method}({str(values)[:500]}) was accepted: {str(result)[:500]}")
