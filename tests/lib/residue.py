#!/usr/bin/python3
"""What Spore leaves on a host: looked for from outside, through /proc and /sys only.

usage: residue.py snapshot FILE       write what is there now
       residue.py check FILE OUT.xml  fail when more is there than FILE says; JUnit result in OUT.xml

Looked at: processes (by executable, by cgroup, by a uid of Spore's range), cgroups named spore*,
mounts, UNIX sockets, System V objects, /dev/shm and the run-time directory.
"""

import glob
import json
import os
import re
import sys
import time

from run_gtests import write_junit

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The range that daemon/config/config.h sets, and the ones that tests/e2e/daemon.py gives its daemons.
UIDS = range(0x20000000, 0x80000000)
BINARIES = {"spored", "spore-zygote", "spore", "spore-bench"}
PATIENCE_SECONDS = 60  # a killed process takes a moment to be reaped, its cgroup longer


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def is_ours(pid):
    try:
        executable = os.readlink("/proc/%s/exe" % pid)
    except OSError:
        executable = ""
    executable = executable.removesuffix(" (deleted)")
    built_here = executable.startswith(TOP + "/build")
    if built_here or os.path.basename(executable) in BINARIES:
        return True
    uids = re.search(r"^Uid:\s+(.*)$", read("/proc/%s/status" % pid), re.M)
    if uids and any(int(uid) in UIDS for uid in uids.group(1).split()):
        return True
    return re.search(r"/spore[^/]*(/|$)", read("/proc/%s/cgroup" % pid), re.M) is not None


def ancestors():
    """This process and those above it: the test run itself."""
    pid, found = os.getpid(), set()
    while pid > 0 and pid not in found:
        found.add(pid)
        parent = re.search(r"^PPid:\s+(\d+)", read("/proc/%d/status" % pid), re.M)
        pid = int(parent.group(1)) if parent else 0
    return found


def processes():
    mine = ancestors()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) not in mine and is_ours(pid):
            stat = read("/proc/%s/stat" % pid)
            if not stat:
                continue
            start = stat.rsplit(")", 1)[1].split()[19]
            command = read("/proc/%s/cmdline" % pid).replace("\0", " ").strip() or stat.split(" (")[1][:20]
            yield "process %s (started at tick %s): %s" % (pid, start, command[:120])


def cgroups():
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            if name.startswith("spore"):
                yield "cgroup " + os.path.join(directory, name)


def mounts():
    for line in read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        target, rest = fields[4], line.split(" - ", 1)[1]
        if "spore" in target or "spore" in rest.split()[1] or "name=spore" in rest:
            yield "mount %s (%s)" % (target, rest)


def sockets():
    for line in read("/proc/net/unix").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and "spore" in fields[7]:
            yield "socket " + fields[7]


def system_v():
    for kind in ("shm", "msg", "sem"):
        for line in read("/proc/sysvipc/" + kind).splitlines()[1:]:
            yield "System V %s %s" % (kind, " ".join(line.split()[:2]))


def files():
    for pattern in ("/run/spore*", "/run/spore/*", "/dev/shm/spore*", "/var/lib/spore", "/tmp/spore-*"):
        for path in glob.glob(pattern):
            yield "file " + path


def everything():
    return sorted({*processes(), *cgroups(), *mounts(), *sockets(), *system_v(), *files()})


def leftovers(before, patience=PATIENCE_SECONDS):
    """What is there now and was not before, after waiting for it to go."""
    deadline = time.monotonic() + patience
    while True:
        extra = [item for item in everything() if item not in before]
        if not extra or time.monotonic() > deadline:
            return extra
        time.sleep(0.2)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "snapshot":
        with open(sys.argv[2], "w") as file:
            json.dump(everything(), file)
        return 0
    if len(sys.argv) != 4 or sys.argv[1] != "check":
        sys.exit(__doc__)
    with open(sys.argv[2]) as file:
        before = set(json.load(file))
    extra = leftovers(before)
    for item in extra:
        print("   left behind: " + item)
    verdict = "failed" if extra else "passed"
    write_junit(sys.argv[3], "residue", [("residue", "nothing_left_behind", 0, verdict, "\n".join(extra))])
    return 1 if extra else 0


if __name__ == "__main__":
    sys.exit(main())
