"""Forks without end; with {"stay": true} the children outlive the handler."""
import os
import time


def run(event):
    made, error = 0, None
    while made < event.get("most", 100000):
        try:
            pid = os.fork()
        except OSError as refused:
            error = refused.strerror
            break
        if pid == 0:
            if event.get("wild"):
                continue
            time.sleep(1000)
            os._exit(0)
        made += 1
    if event.get("wild"):
        time.sleep(1000)
    return {"made": made, "error": error}
