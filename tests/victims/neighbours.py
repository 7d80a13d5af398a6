"""Looks for a neighbour: signals, sockets, IPC objects, shared folders.

With {"settle": word} it leaves traces under the word and stays until its file /tmp/settled is taken
away, or for `seconds`; with {"seek": word, "pids": [..]} it tries to find them.
"""
import ctypes
import os
import socket
import time

from attempts import attempt, libc

KEY = 0x53504F52
IPC_CREAT, MAX_ID = 0o1000, 64


def settle(word, seconds):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"\0spore-{word}")
    listening.listen()
    segment = libc.shmget(KEY, 4096, IPC_CREAT | 0o666)
    queue = libc.msgget(KEY, IPC_CREAT | 0o666)
    semaphore = libc.semget(KEY, 1, IPC_CREAT | 0o666)
    named = libc.mq_open(b"/spore", os.O_CREAT | os.O_RDWR, 0o666, None)
    for folder in ("/tmp", "/dev/shm", "/var/tmp"):
        attempt(lambda path: open(path, "w").write(word), f"{folder}/spore-{word}")
    open("/tmp/settled", "w").close()
    end = time.monotonic() + seconds
    while os.path.exists("/tmp/settled") and time.monotonic() < end:
        time.sleep(0.02)
    return {"segment": segment, "queue": queue, "semaphore": semaphore, "named": named,
            "pid": os.getpid(), "uid": os.getuid()}


def connect(address):
    with socket.socket(socket.AF_UNIX) as seeker:
        seeker.settimeout(2)
        seeker.connect(address)


def seek(word, pids):
    outcomes = {
        "abstract socket": attempt(connect, f"\0spore-{word}"),
        "shared memory": "DONE" if libc.shmget(KEY, 4096, 0) >= 0 else "refused",
        "message queue": "DONE" if libc.msgget(KEY, 0) >= 0 else "refused",
        "semaphore": "DONE" if libc.semget(KEY, 1, 0) >= 0 else "refused",
        "posix queue": "DONE" if libc.mq_open(b"/spore", os.O_RDWR) >= 0 else "refused",
    }
    for number in range(MAX_ID):
        libc.shmat.restype = ctypes.c_long
        if libc.shmat(number, None, 0) != -1:
            outcomes[f"shared memory {number}"] = "DONE"
    for folder in ("/tmp", "/dev/shm", "/var/tmp"):
        found = os.path.exists(f"{folder}/spore-{word}")
        outcomes[f"file in {folder}"] = "DONE" if found else "refused"
    for pid in pids:
        outcomes[f"signal {pid}"] = attempt(os.kill, pid, 0)
        outcomes[f"process group {pid}"] = attempt(os.killpg, pid, 0)
        outcomes[f"pidfd {pid}"] = attempt(os.pidfd_open, pid)
        outcomes[f"priority {pid}"] = attempt(os.setpriority, os.PRIO_PROCESS, pid, 19)
    outcomes["abstract names"] = abstract_names(word)
    return outcomes


def abstract_names(word):
    text = open("/proc/net/unix").read() if os.path.exists("/proc/net/unix") else ""
    return "DONE" if word in text else "refused"


def run(event):
    if "settle" in event:
        return settle(event["settle"], event["seconds"])
    return seek(event["seek"], event["pids"])

