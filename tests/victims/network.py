"""Reaches for the network, and for the daemon's own socket."""
import os
import socket

from attempts import attempt


def open_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


def connect(address):
    with socket.create_connection(address, timeout=2):
        pass


def run(event):
    families = {
        "inet stream": (socket.AF_INET, socket.SOCK_STREAM),
        "inet datagram": (socket.AF_INET, socket.SOCK_DGRAM),
        "inet raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "inet6 stream": (socket.AF_INET6, socket.SOCK_STREAM),
        "inet6 raw": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 3),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "netlink audit": (socket.AF_NETLINK, socket.SOCK_RAW, 9),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM),
        "alg": (socket.AF_ALG, socket.SOCK_SEQPACKET),
        "bluetooth": (31, socket.SOCK_RAW),
        "can": (29, socket.SOCK_RAW, 1),
        "xdp": (44, socket.SOCK_RAW),
        "key": (15, socket.SOCK_RAW, 2),
    }
    outcomes = {name: attempt(open_socket, *family) for name, family in families.items()}
    for port in event.get("ports", []):
        outcomes[f"connect 127.0.0.1:{port}"] = attempt(connect, ("127.0.0.1", port))
    outcomes["name lookup"] = attempt(socket.getaddrinfo, "localhost.example", 80)
    for path in event.get("sockets", []):
        outcomes[f"socket {path}"] = attempt(unix_connect, path)
    first, second = socket.socketpair()
    first.send(b"x")
    local = second.recv(1) == b"x"
    interfaces = sorted(os.listdir("/sys/class/net")) if os.path.exists("/sys/class/net") else []
    return {"refused": outcomes, "socketpair works": local, "interfaces": interfaces}


def unix_connect(path):
    with socket.socket(socket.AF_UNIX) as seeker:
        seeker.connect(path)
