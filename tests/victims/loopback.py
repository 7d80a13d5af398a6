"""Uses and abuses the loopback device of a sandbox that has one.

Without more it talks to itself; with {"settle": [ports], "seconds": n} it listens on them until its file /tmp/settled
is taken away, or for so long at the most; with
{"seek": [[address, port], ..]} it tries to reach what others listen on; with {"fill": n} it fills the
buffers of so many connections that nobody reads from.
"""
import fcntl
import os
import socket
import struct
import time

from attempts import attempt

SIOCADDRT, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR = 0x890B, 0x8913, 0x8914, 0x8916


def tcp(family, address):
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        with socket.create_connection(server.getsockname()[:2], 5) as client:
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"over tcp")
                return accepted.recv(100).decode()


def udp(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"over udp", server.getsockname()[:2])
            return server.recv(100).decode()


def configure(request, content):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lever:
        fcntl.ioctl(lever, request, content)


def bind_to(port):
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def option(level, name, value):
    with socket.socket() as lever:
        lever.setsockopt(level, name, value)


def talk():
    ipv6 = os.path.exists("/proc/self/net/if_inet6")
    said = {"tcp": tcp(socket.AF_INET, "127.0.0.1"), "udp": udp(socket.AF_INET, "127.0.0.1")}
    if ipv6:
        said.update({"tcp6": tcp(socket.AF_INET6, "::1"), "udp6": udp(socket.AF_INET6, "::1")})
    lo = b"lo".ljust(16, b"\0")
    address = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("10.0.0.1"))
    route = b"\0" * 8 + struct.pack("=HH4s8x", socket.AF_INET, 0, b"\0" * 4) * 3 + b"\0" * 100
    refused = {
        "take lo down": attempt(configure, SIOCSIFFLAGS, lo + struct.pack("=h22x", 0)),
        "another address": attempt(configure, SIOCSIFADDR, lo + address),
        "a route": attempt(configure, SIOCADDRT, route),
        "a reserved port": attempt(bind_to, 80),
        "ping socket": attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        "sctp": attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 132),
        "mptcp": attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262),
        "tls in the kernel": attempt(option, socket.IPPROTO_TCP, 31, b"tls"),
        "a mark": attempt(option, socket.SOL_SOCKET, socket.SO_MARK, 1),
        "transparent": attempt(option, socket.SOL_IP, 19, 1),
    }
    return {"said": said, "refused": refused, "devices": [name for _, name in socket.if_nameindex()]
            if attempt(socket.if_nameindex) == "DONE" else devices()}


def devices():
    return [line.split(":")[0].strip() for line in open("/proc/self/net/dev").readlines()[2:]]


def settle(ports, seconds):
    servers = []
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            server = socket.socket(socket.AF_INET, kind)
            server.bind(("0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                server.listen()
            server.setblocking(False)
            servers.append(server)
    open("/tmp/settled", "w").close()
    end = time.monotonic() + seconds
    while os.path.exists("/tmp/settled") and time.monotonic() < end:
        time.sleep(0.02)
    heard = []
    for server in servers:
        try:
            heard.append(str(server.accept() if server.type == socket.SOCK_STREAM else server.recv(100)))
        except BlockingIOError:
            pass
    return heard


def reach(address, port):
    with socket.create_connection((address, port), timeout=2):
        pass


def send(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        sender.send(b"knock")
        sender.settimeout(0.2)
        sender.recv(1)


def seek(targets):
    found = {}
    for address, port in targets:
        found[f"tcp {address} {port}"] = attempt(reach, address, port)
        found[f"udp {address} {port}"] = attempt(send, address, port)
    return found


def fill(connections):
    held, total = [], 0
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        for _ in range(connections):
            client = socket.create_connection(server.getsockname())
            for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                client.setsockopt(socket.SOL_SOCKET, name, 1 << 30)
            accepted, _ = server.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
            client.setblocking(False)
            held.append((client, accepted))
        for client, _ in held:
            try:
                while True:
                    total += client.send(b"x" * 65536)
            except BlockingIOError:
                continue
    return {"connections": len(held), "bytes": total}


def run(event):
    if "settle" in event:
        return settle(event["settle"], event["seconds"])
    if "seek" in event:
        return seek(event["seek"])
    return fill(event["fill"]) if "fill" in event else talk()
