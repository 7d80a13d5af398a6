"""Malformed, truncated, oversized and interleaved frames; clients that vanish or do not read."""
import json
import os
import socket
import struct
import time

import daemon
import protobuf
import pytest
import ttrpc

CODES = ttrpc.CODES


@pytest.fixture(scope="module", autouse=True)
def echo(spored):
    spored.deploy("echo", {"app.py": "def handler(e, c):\n    return e\n"})
    yield
    assert spored.result("echo", "still here") == "still here"


@pytest.fixture
def client(spored):
    with spored.client(timeout=60) as connection:
        yield connection


def good_frame(stream=1, payload=b"5"):
    body = ttrpc.envelope("Invocations", "Invoke",
                          protobuf.encode("InvokeRequest", {"name": "echo", "payload": payload}))
    return ttrpc.frame(stream, ttrpc.REQUEST, body)


def status_of(client):
    stream, kind, body = client.receive()
    assert kind == ttrpc.RESPONSE
    status = protobuf.decode("TtrpcResponse", body)["status"]
    return stream, status["code"] if status else 0


def error_or_closed(client):
    """An error answer, or the end of the connection: both are clear, silence is not."""
    try:
        return status_of(client)[1] != 0
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_unknown_service_and_method(client):
    for service, method in (("spore.v1.Nothing", "Invoke"), ("spore.v1.Functions", "Nothing"),
                            ("", ""), ("\x00", "x"), ("Functions", "List" * 1000)):
        name = service if "." in service else service
        body = protobuf.encode("TtrpcRequest", {"service": name, "method": method})
        stream = client.next_stream()
        client.send_raw(ttrpc.frame(stream, ttrpc.REQUEST, body))
        assert status_of(client) == (stream, CODES["UNIMPLEMENTED"])


@pytest.mark.parametrize("body", [b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x07", b"\x00" * 8],
                         ids=["noise", "length beyond", "bad wire type", "zeros"])
def test_envelope_that_does_not_parse(client, body):
    client.send_raw(ttrpc.frame(1, ttrpc.REQUEST, body))
    assert error_or_closed(client)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x0a\x80", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"],
                         ids=["noise", "open varint", "short string", "not UTF-8"])
def test_message_that_does_not_parse(client, payload):
    client.send_raw(ttrpc.frame(1, ttrpc.REQUEST, ttrpc.envelope("Functions", "Get", payload)))
    assert status_of(client) == (1, CODES["INVALID_ARGUMENT"])
    client.send_raw(good_frame(3))
    assert status_of(client) == (3, 0)


def test_unknown_fields_are_ignored(client):
    payload = (protobuf.encode("InvokeRequest", {"name": "echo", "payload": b"5"})
               + protobuf.delimited(1000, b"future") + protobuf.tag(1001, 0) + b"\x01")
    client.send_raw(ttrpc.frame(1, ttrpc.REQUEST, ttrpc.envelope("Invocations", "Invoke", payload)))
    assert status_of(client) == (1, 0)


@pytest.mark.parametrize("length", [(4 << 20) + 1, 1 << 30, 0xFFFFFFFF])
def test_oversized_frame(client, length):
    client.send_raw(ttrpc.HEADER.pack(length, 1, ttrpc.REQUEST, 0) + b"x" * 1000)
    assert error_or_closed(client)


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 99, 255])
def test_frame_of_another_type(client, kind):
    client.send_raw(ttrpc.frame(1, kind, b"x"))
    assert error_or_closed(client)


@pytest.mark.parametrize("stream", [0, 2, 0xFFFFFFFE])
def test_even_stream(client, stream):
    client.send_raw(good_frame(stream))
    assert error_or_closed(client)


def test_stream_used_twice(client):
    client.send_raw(good_frame(5))
    assert status_of(client) == (5, 0)
    client.send_raw(good_frame(5))
    assert error_or_closed(client)


@pytest.mark.parametrize("cut", [1, 5, 9, 10, 11, 30])
def test_truncated_frame_and_silence(spored, cut):
    with spored.client() as connection:
        connection.send_raw(good_frame()[:cut])
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.closed_by_peer()


def test_frame_byte_by_byte(client):
    for byte in good_frame():
        client.send_raw(bytes([byte]))
    assert status_of(client) == (1, 0)


def test_many_frames_in_one_write(client):
    client.send_raw(b"".join(good_frame(1 + 2 * i, str(i).encode()) for i in range(50)))
    seen = {}
    for _ in range(50):
        stream, _, body = client.receive()
        seen[stream] = json.loads(client.answer("InvokeResponse", body)["payload"])
    assert seen == {1 + 2 * i: i for i in range(50)}


def test_frames_interleaved_by_two_connections(spored):
    with spored.client() as first, spored.client() as second:
        frames = good_frame(1, b'"first"'), good_frame(1, b'"second"')
        for at in range(0, max(map(len, frames)), 7):
            first.send_raw(frames[0][at : at + 7])
            second.send_raw(frames[1][at : at + 7])
        for connection, word in ((first, "first"), (second, "second")):
            _, _, body = connection.receive()
            answer = connection.answer("InvokeResponse", body)
            assert json.loads(answer["payload"]) == word


def test_empty_frame(client):
    client.send_raw(ttrpc.frame(1, ttrpc.REQUEST, b""))
    assert error_or_closed(client)


def test_noise(spored):
    for seed in range(20):
        with spored.client(timeout=5) as connection:
            noise = bytes((seed * 37 + i * i * 11) % 256 for i in range(4096))
            try:
                connection.send_raw(noise)
                connection.socket.shutdown(socket.SHUT_WR)
                while True:
                    connection.receive()
            except OSError:
                pass


def test_http_is_refused(client):
    client.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert error_or_closed(client)


def test_client_that_vanishes_at_every_point(spored):
    for cut in (0, 3, 10, 25, len(good_frame())):
        connection = spored.client()
        connection.send_raw(good_frame()[:cut])
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert spored.result("echo", 1) == 1


def test_missing_descriptor(client):
    error = client.error_of("Functions", "Deploy", {
        "name": "no-archive", "settings": {"runtime": "python", "handler": "app.handler"}})
    assert error.code == CODES["INVALID_ARGUMENT"], error
    assert "descriptor" in error.message or "archive" in error.message


def settled_descriptors(spored):
    """How many it holds once sandboxes made ahead have stopped coming and going."""
    def count():
        return len(os.listdir(f"/proc/{spored.process.pid}/fd"))

    def same_for_a_while():
        first = count()
        time.sleep(0.5)
        return first if count() == first else 0
    return daemon.wait_until(same_for_a_while)


def test_descriptors_that_nobody_asked_for(spored):
    before = settled_descriptors(spored)
    for _ in range(50):
        with spored.client() as connection:
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
            try:
                connection.call("Functions", "List", {}, fds)
            except (ttrpc.RpcError, OSError):
                pass
            for descriptor in fds:
                os.close(descriptor)
    daemon.wait_until(lambda: len(os.listdir(f"/proc/{spored.process.pid}/fd")) <= before + 2,
                      what="descriptors are closed again")


def test_flood_of_descriptors(spored):
    before = settled_descriptors(spored)
    with spored.client() as connection:
        fds = [os.open("/dev/null", os.O_RDONLY)] * 200
        try:
            for _ in range(20):
                connection.send_raw(b"\0", fds)
        except OSError:
            pass
        os.close(fds[0])
    daemon.wait_until(lambda: len(os.listdir(f"/proc/{spored.process.pid}/fd")) <= before + 2,
                      what="descriptors are closed again")


def test_client_that_does_not_read_is_cut_off(spored):
    """Its answers pile up to a bound; others are served meanwhile."""
    with spored.client(timeout=10) as deaf:
        big = json.dumps("x" * 900_000).encode()
        deaf.socket.setblocking(False)
        try:
            for i in range(300):
                deaf.socket.send(good_frame(1 + 2 * i, big))
        except OSError:
            pass
        assert spored.result("echo", "meanwhile") == "meanwhile"
        assert spored.stats()["daemon_memory_bytes"] < 600 << 20


def test_idle_connections_do_not_keep_others_out(spored):
    idle = [spored.client() for _ in range(300)]
    try:
        assert spored.result("echo", 1) == 1
    finally:
        for connection in idle:
            connection.close()


def test_run_with_too_few_descriptors(client):
    null = os.open("/dev/null", os.O_RDWR)
    error = client.error_of("Invocations", "Run", {
        "runtime": "python", "script": b"1", "args": ["x.py"]}, [null])
    os.close(null)
    assert error.code == CODES["INVALID_ARGUMENT"], error


def test_protocol_definition_is_the_daemons(spored):
    """Every method of spore.proto is served: none answers UNIMPLEMENTED."""
    for service, methods in ttrpc.SERVICES.items():
        for method in methods:
            with spored.client() as connection:
                try:
                    connection.call(service, method, {})
                except ttrpc.RpcError as error:
                    assert error.code != CODES["UNIMPLEMENTED"], (service, method)
