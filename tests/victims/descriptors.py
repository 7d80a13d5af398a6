"""Lists every descriptor that it was born with."""
import os
import stat


def kind(descriptor):
    mode = os.fstat(descriptor).st_mode
    for name in ("SOCK", "FIFO", "REG", "DIR", "CHR", "BLK"):
        if getattr(stat, f"S_IS{name}")(mode):
            return name.lower()
    return "anonymous"


def run(event):
    found = {}
    for descriptor in range(4096):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        found[descriptor] = [kind(descriptor), target]
    limit = os.sysconf("SC_OPEN_MAX")
    for descriptor in range(4096, limit):  # beyond what a table is likely to hold
        try:
            found[descriptor] = [kind(descriptor), "?"]
        except OSError:
            pass
    return found
