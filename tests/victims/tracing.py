"""Traces, reads and copies from other processes."""
import ctypes
import os
import signal
import time

from attempts import attempt, in_child, libc, syscall

TRACEME, ATTACH, SEIZE = 0, 16, 0x4206


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def run(event):
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    buffer = ctypes.create_string_buffer(16)
    local = Vector(ctypes.addressof(buffer), 16)
    remote = Vector(ctypes.addressof(buffer), 16)
    outcomes = {"traceme": in_child(syscall, "ptrace", TRACEME, 0, 0, 0)}
    for name, pid in (("child", child), ("init", 1), ("parent", os.getppid() or 1)):
        outcomes[f"attach {name}"] = in_child(syscall, "ptrace", ATTACH, pid, 0, 0)
        outcomes[f"seize {name}"] = in_child(syscall, "ptrace", SEIZE, pid, 0, 0)
    outcomes["read init's memory"] = syscall(
        "process_vm_readv", 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    outcomes["write init's memory"] = syscall(
        "process_vm_writev", 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    outcomes["open init's memory"] = attempt(os.open, "/proc/1/mem", os.O_RDWR)
    outcomes["kcmp"] = syscall("kcmp", 1, os.getpid(), 0, 0, 0)
    outcomes["take init's descriptor"] = pidfd_getfd(1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return outcomes


def pidfd_getfd(pid):
    ctypes.set_errno(0)
    descriptor = libc.syscall(ctypes.c_long(434), ctypes.c_long(pid), ctypes.c_long(0))
    if descriptor < 0:
        return syscall("pidfd_open", pid, 0)
    outcome = syscall("pidfd_getfd", descriptor, 0, 0)
    os.close(descriptor)
    return outcome
