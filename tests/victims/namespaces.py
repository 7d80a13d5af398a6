"""Makes namespaces of its own, or joins another's."""
import ctypes
import os
import signal

from attempts import NR, attempt, in_child, libc, name_of, syscall

FLAGS = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
    "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}


def clone_with(flags):
    """clone(2) as a plain fork with namespace flags; the child, if there is one, just leaves."""
    ctypes.set_errno(0)
    pid = libc.syscall(ctypes.c_long(NR["clone"]), ctypes.c_long(flags | signal.SIGCHLD),
                       ctypes.c_long(0), None, None, ctypes.c_long(0))
    if pid == 0:
        os._exit(0)
    if pid < 0:
        return name_of(ctypes.get_errno())
    os.waitpid(pid, 0)
    return "DONE"


def clone3_with(flags):
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, signal.SIGCHLD)
    ctypes.set_errno(0)
    pid = libc.syscall(ctypes.c_long(NR["clone3"]), arguments, ctypes.c_long(88))
    if pid == 0:
        os._exit(0)
    if pid < 0:
        return name_of(ctypes.get_errno())
    os.waitpid(pid, 0)
    return "DONE"


def join(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return syscall("setns", descriptor, 0)
    finally:
        os.close(descriptor)


def join_or_error(path):
    result = []
    error = attempt(lambda: result.append(join(path)))
    return result[0] if result else error


def run(event):
    outcomes = {}
    for name, flag in FLAGS.items():
        outcomes[f"unshare {name}"] = in_child(syscall, "unshare", flag)
        if name != "time":  # clone(2) has no such flag: the bit belongs to the exit signal
            outcomes[f"clone {name}"] = in_child(clone_with, flag)
        outcomes[f"clone3 {name}"] = in_child(clone3_with, flag)
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"):
        outcomes[f"setns own {name}"] = in_child(join_or_error, f"/proc/self/ns/{name}")
        outcomes[f"setns init's {name}"] = in_child(join_or_error, f"/proc/1/ns/{name}")
    outcomes["user and all"] = in_child(syscall, "unshare", sum(FLAGS.values()))
    outcomes["plain clone works"] = in_child(clone_with, 0)
    outcomes["plain clone3"] = in_child(clone3_with, 0)
    return outcomes
