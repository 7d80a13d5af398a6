"""Looks through /proc for other processes, and at the kernel's log."""
import os

from attempts import attempt, syscall


def read(path):
    with open(path, "rb") as file:
        if not file.read(16):
            raise PermissionError(1, "empty")


def write(path, text=b"0"):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def run(event):
    kernel = ["/proc/kmsg", "/proc/kcore", "/proc/kallsyms", "/proc/sched_debug", "/proc/keys",
              "/proc/key-users", "/proc/timer_list", "/proc/slabinfo", "/proc/vmallocinfo",
              "/proc/config.gz", "/proc/iomem", "/proc/modules", "/proc/1/environ", "/proc/1/mem",
              "/proc/1/maps"]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {
        "pids": pids,
        "commands": {pid: open(f"/proc/{pid}/comm").read().strip() for pid in pids},
        "self": os.getpid(),
        "read": {path: attempt(read, path) for path in kernel},
        "links": {path: attempt(os.readlink, path) for path in
                  ("/proc/1/root", "/proc/1/cwd", "/proc/1/exe")},
        "syslog": {f"action {action}": syscall("syslog", action, None, 0)
                   for action in (2, 3, 5, 6, 8)},
        "write": {path: attempt(write, path) for path in
                  ("/proc/sysrq-trigger", "/proc/sys/kernel/panic", 
                   "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches")},
        "oom_score": attempt(write, "/proc/self/oom_score_adj", b"-1000"),
    }
