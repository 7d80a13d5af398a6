"""Becomes somebody else: identity calls, capabilities, setuid programs."""
import ctypes
import os
import re
import shutil
import stat
import subprocess

from attempts import attempt, in_child, syscall


def status():
    text = open("/proc/self/status").read()
    names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
             "NoNewPrivs", "Seccomp")
    return {name: re.search(rf"^{name}:\s*(.*)", text, re.M)[1].split() for name in names}


def setuid_programs():
    found = []
    for folder in ("/usr/bin", "/usr/sbin", "/usr/lib"):
        for path, _, names in os.walk(folder):
            for name in names:
                full = os.path.join(path, name)
                try:
                    info = os.lstat(full)
                except OSError:
                    continue
                if stat.S_ISREG(info.st_mode) and info.st_mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(full)
    return found


def run_own_setuid_copy():
    """A setuid copy of id(1) in /tmp keeps the caller's identity."""
    copy = "/tmp/id-setuid"
    shutil.copy("/usr/bin/id", copy)
    os.chmod(copy, 0o6755)
    done = subprocess.run([copy, "-u"], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip()


def su_without_password():
    """su(1) to root: as root it would need no password."""
    done = subprocess.run(["/usr/bin/su", "-c", "id -u"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    return "DONE" if done.stdout.strip() == "0" else f"exit {done.returncode}"


def run(event):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    everything = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    refused = {
        "setuid 0": in_child(syscall, "setuid", 0),
        "setgid 0": in_child(syscall, "setgid", 0),
        "setresuid 0": in_child(syscall, "setresuid", 0, 0, 0),
        "setresuid neighbour": in_child(syscall, "setresuid", os.getuid() + 1, -1, -1),
        "setresgid 0": in_child(syscall, "setresgid", 0, 0, 0),
        "setgroups": in_child(syscall, "setgroups", 1, (ctypes.c_uint32 * 1)(0)),
        "capset": in_child(syscall, "capset", header, everything),
        "chown to root": attempt(chown_to_root),
        "mknod": attempt(os.mknod, "/tmp/device", 0o666 | stat.S_IFBLK, os.makedev(8, 0)),
        "mknod character": attempt(os.mknod, "/tmp/mem", 0o666 | stat.S_IFCHR, os.makedev(1, 1)),
        "su": su_without_password(),
        "nice": attempt(os.nice, -5),
        "raise descriptor limit": attempt(raise_limit),
    }
    return {"status": status(), "refused": refused, "setuid copy": run_own_setuid_copy(),
            "setuid programs": len(setuid_programs()), "uid": os.getuid(), "gid": os.getgid(),
            "groups": os.getgroups()}


def chown_to_root():
    with open("/tmp/mine", "w"):
        pass
    os.chown("/tmp/mine", 0, 0)


def raise_limit():
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
