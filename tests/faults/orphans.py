"""Leaves children behind whose parents have gone: pid 1 must reap them."""
import os
import time


def run(event):
    for _ in range(event["count"]):
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                os._exit(0)  # an orphan as soon as its parent has gone
            os._exit(0)
        os.waitpid(pid, 0)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        zombies = 0
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    zombies += open(f"/proc/{name}/stat").read().rsplit(")")[-1].split()[0] == "Z"
                except OSError:
                    pass
        if zombies == 0:
            break
        time.sleep(0.01)
    return {"zombies": zombies}
