"""Writes rubbish to every descriptor: plain noise, and what looks like frames of the protocol."""
import os
import struct


def forgeries(word):
    header = struct.Struct("<IIQ")
    yield os.urandom(512)
    yield header.pack(18, 0xFFFFFFFF, 0)              # a response longer than any may be
    yield header.pack(16, 8, 0) + b"confined"         # "I am confined", a second time
    yield header.pack(17, 2, 0) + b"{}"               # "I am loaded", a second time
    yield header.pack(18, 2, 999999) + b"{}"          # the answer to another's request
    yield header.pack(99, 0, 0)                       # a frame of no known type
    yield header.pack(19, 1 << 20, 0) + b"cut short"  # a failure that never ends
    yield word


def run(event):
    noise = list(forgeries(event.get("word", "").encode()))
    chosen = noise if event.get("all", True) else [noise[event["forgery"]]]
    for descriptor in range(3, 64):
        for block in chosen:
            try:
                os.write(descriptor, block)
            except OSError:
                break
    return "written"
