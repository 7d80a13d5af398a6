"""Uses as much processor time as `seconds` of wall clock allow, on `processes` processes."""
import os
import time


def burn(end):
    while time.monotonic() < end:
        pass


def run(event):
    end = time.monotonic() + event["seconds"]
    children = []
    for _ in range(event.get("processes", 1) - 1):
        pid = os.fork()
        if pid == 0:
            burn(end)
            os._exit(0)
        children.append(pid)
    burn(end)
    for pid in children:
        os.waitpid(pid, 0)
    times = os.times()
    used = times.user + times.system + times.children_user + times.children_system
    return {"cpu_seconds": used}
