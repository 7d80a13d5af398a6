"""What the socket to the daemon tells of the network that it was made in, and whether it can take a name there."""
import fcntl
import os
import socket
import struct

from attempts import attempt

SIOCGIFNAME, SIOCGIFHWADDR = 0x8910, 0x8927


def interfaces():
    for index in range(1, 32):
        try:
            found = fcntl.ioctl(3, SIOCGIFNAME, struct.pack("16si12x", b"", index))
        except OSError:
            continue
        yield found.split(b"\0")[0].decode()


def bind(name):
    with socket.socket(fileno=os.dup(3)) as channel:
        channel.bind(name)


def run(event):
    return {
        "interfaces": list(interfaces()),
        "addresses": {name: attempt(fcntl.ioctl, 3, SIOCGIFHWADDR, struct.pack("16s16x", name.encode()))
                      for name in event["interfaces"]},
        "bind": {"an abstract name": attempt(bind, b"\0spore-" + str(os.getpid()).encode()),
                 "a path": attempt(bind, "/tmp/name")},
    }
