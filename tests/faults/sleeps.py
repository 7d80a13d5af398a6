"""Sleeps for `seconds`, deaf to polite signals."""
import signal
import time


def run(event):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(event["seconds"])
    return "awake"
