"""Writes `bytes` to standard output and error, in lines or without any line end."""
import os


def run(event):
    block = b"x" * 65535 + (b"\n" if event.get("lines", True) else b"x")
    written = 0
    while written < event["bytes"]:
        os.write(1 + written % 2, block)
        written += len(block)
    return {"written": written}
