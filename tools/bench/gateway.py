#!/usr/bin/env python3
"""What the gateway adds to a warm invocation, and how many a second it passes on.

  tools/bench/gateway.py --socket /run/spore/spored.sock --gateway 127.0.0.1:8080 FUNCTION

The function must be one of the gateway's user, and is called with `null` through the socket and through
the gateway in turn, over one connection each, so that both meet the same state of the machine; the
bytes of the requests are made beforehand. Then wrk(1), where it is installed, calls it from many
connections, and the page at / beside it, which costs the gateway alone. Run it as root or as that user.
"""
import argparse
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

HEADER = struct.Struct(">IIBB")
LUA = 'wrk.method = "POST"\nwrk.body = "null"\nwrk.headers["Content-Type"] = "application/json"\n'


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


class Socket:
    """ttrpc (proto/spore/v1/spore.proto), one call after another."""

    def __init__(self, path, function):
        self.client = socket.socket(socket.AF_UNIX)
        self.client.connect(path)
        request = field(1, function.encode()) + field(2, b"null")
        self.message = field(1, b"spore.v1.Invocations") + field(2, b"Invoke") + field(3, request)
        self.stream = 1

    def call(self):
        self.client.sendall(HEADER.pack(len(self.message), self.stream, 1, 0) + self.message)
        self.stream += 2
        data = b""
        while len(data) < 10 or len(data) < 10 + HEADER.unpack(data[:10])[0]:
            data += self.client.recv(65536)
        assert b"\x1a" not in data[10:11], data  # a status: refused


class Http:
    def __init__(self, address, function):
        host, port = address.rsplit(":", 1)
        self.client = socket.create_connection((host, int(port)))
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nHost: localhost\r\n"
                        "Content-Length: 4\r\n\r\nnull").encode()

    def call(self):
        self.client.sendall(self.request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.client.recv(65536)
        assert data.startswith(b"HTTP/1.1 200"), data
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")))
        while len(body) < length:
            body += self.client.recv(65536)


def interleaved(ways, count):
    """Microseconds of each way's calls, taken in turn."""
    times = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(50):
            way.call()
    for _ in range(count):
        for name, way in ways.items():
            start = time.perf_counter_ns()
            way.call()
            times[name].append((time.perf_counter_ns() - start) / 1000)
    return times


def wrk(address, path, connections, seconds):
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "post.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(LUA)
        post = ["-s", script] if path != "/" else []
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *post,
                               f"http:{'//'}{address}{path}"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    rate = float(next(line.split()[1] for line in lines if line.startswith("Requests/sec")))
    return {"requests_per_second": rate, "connections": connections,
            "p50": next(line.split()[1] for line in lines if "50%" in line),
            "p99": next(line.split()[1] for line in lines if "99%" in line),
            "other_than_2xx": next((int(line.split()[-1]) for line in lines if "Non-2xx" in line), 0)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("function")
    parser.add_argument("--socket", default="/run/spore/spored.sock")
    parser.add_argument("--gateway", default="127.0.0.1:8080")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    times = interleaved({"socket": Socket(arguments.socket, arguments.function),
                         "gateway": Http(arguments.gateway, arguments.function)}, arguments.count)
    result = {}
    for name, values in times.items():
        cuts = statistics.quantiles(values, n=100)
        result[name] = {"p50_us": round(cuts[49], 1), "p90_us": round(cuts[89], 1), "p99_us": round(cuts[98], 1)}
    result["gateway_to_socket_p50"] = round(result["gateway"]["p50_us"] / result["socket"]["p50_us"], 2)
    if shutil.which("wrk"):
        path = f"/2015-03-31/functions/{arguments.function}/invocations"
        result["wrk"] = [wrk(arguments.gateway, path, n, arguments.seconds) for n in (1, 8, 64)]
        result["wrk_without_spored"] = wrk(arguments.gateway, "/", 64, arguments.seconds)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
