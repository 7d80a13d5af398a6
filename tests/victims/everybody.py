"""Signals every process that it may."""
import os
import signal

from attempts import attempt


def run(event):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return attempt(os.kill, -1, signal.SIGTERM)
