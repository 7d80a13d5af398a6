"""Restores of sessions by `spore-zygote restore` alone: its images and its CRIU are a test's."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import daemon
import natives
import sandboxes

NUMBER, DESCRIPTOR = 50, 4  # of what tests/natives/hostile_criu.c restores
FSOPEN, FSCONFIG, FSMOUNT, OPEN_TREE = 430, 431, 432, 428
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    done = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def status(pid, name):
    """A line of a process's status; None once it has ended."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
    return None


class Empty:
    """A sandbox of a daemon that holds still, and nothing but its init runs in it."""

    def __init__(self, spored, **fields):
        self.spored = spored
        made = sandboxes.create(spored, **fields)
        session = made.call("Inspect")
        self.cgroups = session["cgroups"]
        os.kill(spored.process.pid, signal.SIGSTOP)
        inside = os.readlink(f"/proc/{session['pid']}/ns/pid")
        pids = {}
        for pid in self.processes():
            with contextlib.suppress(OSError, AttributeError):  # it has ended meanwhile
                if os.readlink(f"/proc/{pid}/ns/pid") == inside:
                    pids[pid] = status(pid, "NSpid").split()[-1]
        self.init = next(pid for pid, number in pids.items() if number == "1")
        others = set(pids) - {self.init}
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in others))
        self.uid = int(status(self.init, "Uid").split()[0])
        first = int(pathlib.Path(f"/proc/{self.init}/uid_map").read_text().split()[1])
        self.inner_uid = self.uid - first
        self.before = self.view()

    def processes(self):
        return {int(pid) for path in self.cgroups
                for pid in pathlib.Path(path, "cgroup.procs").read_text().split()}

    def view(self):
        """What a restore must leave as it was, if it fails: processes, mounts, `lo`."""
        mounts = pathlib.Path(f"/proc/{self.init}/mountinfo").read_text()
        flags = subprocess.run(["nsenter", f"--net=/proc/{self.init}/ns/net", "cat",
                                "/proc/net/if_inet6"], capture_output=True, check=True).stdout
        # One that has ended may be listed until it has been switched out.
        living = {pid for pid in self.processes() if (status(pid, "State") or "X")[0] not in "XZ"}
        return living, mounts, flags

    def read(self, path):
        return pathlib.Path(f"/proc/{self.init}/root{path}").read_text()

    def clear(self):
        """Takes away what a restore that failed has left of a checkpoint's files."""
        for folder in ("tmp", "dev/shm"):
            for path in pathlib.Path(f"/proc/{self.init}/root/{folder}").iterdir():
                path.unlink()

    def end(self):
        os.kill(self.spored.process.pid, signal.SIGCONT)


class Restored:
    """What `spore-zygote restore` has said."""

    def __init__(self, code, message, fds):
        self.code, self.fds = code, fds
        self.kind, self.processes = struct.unpack_from("<II", message) if message else (None, 0)
        self.error = message[8:520].split(b"\0")[0].decode()

    def __repr__(self):
        return f"exit {self.code}, {self.processes} processes, error: {self.error!r}"


@contextlib.contextmanager
def checkpoint_files(owner, images, files):
    """A tmpfs as spored makes it: (mount, folder)."""
    context = call(FSOPEN, b"tmpfs", 1)
    call(FSCONFIG, context, 6, None, None, 0)
    mount = call(FSMOUNT, context, 1, 0)
    os.close(context)
    root = f"/proc/self/fd/{mount}"
    os.chmod(root, 0o711)
    for name in ("files/tmp", "files/shm", "images"):
        os.makedirs(f"{root}/{name}", 0o700)
    for name, content in {**{f"images/{n}": c for n, c in images.items()},
                          **{f"files/{n}": c for n, c in files.items()}}.items():
        pathlib.Path(root, name).write_bytes(content)
        os.chmod(f"{root}/{name}", 0o644)
        os.chown(f"{root}/{name}", owner, owner)
    os.chown(f"{root}/images", owner, owner)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield mount, folder
    finally:
        os.close(folder)
        os.close(mount)


@contextlib.contextmanager
def hostile_criu():
    """A /usr whose CRIU is hostile_criu.c."""
    usr = pathlib.Path(tempfile.mkdtemp(prefix="spore-criu-"))
    try:
        usr.chmod(0o755)
        (usr / "lib64").mkdir(0o755)
        shutil.copy(natives.program("hostile_criu.c", "-static"), usr / "lib64/ld-linux-x86-64.so.2")
        yield usr
    finally:
        shutil.rmtree(usr)


def work(verb, process, files, criu, words, fault=""):
    """(exit code, message, descriptors) of `spore-zygote VERB`; `process`: a pidfd."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        # OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC
        usr = call(OPEN_TREE, -100, str(criu).encode(), 1 | os.O_CLOEXEC)
        passed = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100)
                  for fd in (theirs.fileno(), process, *files, usr)]
        worker = subprocess.Popen(
            [f"{daemon.helpers()}/spore-zygote", verb, *words], close_fds=False,
            stdin=subprocess.DEVNULL, env={"SPORE_FAULT": fault},
            preexec_fn=lambda: [os.dup2(fd, 3 + i) for i, fd in enumerate(passed)])
        for fd in (usr, theirs.detach(), *passed):
            os.close(fd)
        ours.settimeout(180)
        message, fds, _, _ = socket.recv_fds(ours, 65536, 8)
        return worker.wait(60), message, fds


def restore(empty, criu, images, files=(), agent=NUMBER, descriptor=DESCRIPTOR, last=400,
            limit_ms=60_000, fault="", words=()):
    """Into an Empty; `images`: {name: bytes}."""
    init = os.pidfd_open(empty.init)
    try:
        with checkpoint_files(empty.uid, images, dict(files)) as made:
            return Restored(*work("restore", init, made, criu, [
                f"uid={empty.inner_uid}", f"agent={agent}", f"descriptor={descriptor}",
                f"last-number={last}", "open-files=1024", f"limit-ms={limit_ms}",
                *(f"cgroup={path}" for path in empty.cgroups), *words], fault))
    finally:
        os.close(init)


def checkpoint(empty, criu, agent, number):
    """(fate, error, CLOCK_MONOTONIC, CLOCK_BOOTTIME) of putting what was restored there on disk again;
    `agent`: its pidfd."""
    with checkpoint_files(empty.uid, {}, {}) as made:
        _, message, _ = work("checkpoint", agent, made, criu, [
            f"uid={empty.inner_uid}", f"agent={number}", "leave-running", "limit-ms=60000",
            *(f"cgroup={path}" for path in empty.cgroups)])
    fate, = struct.unpack_from("<I", message, 4)
    return fate, message[8:520].split(b"\0")[0].decode(), *struct.unpack_from("<QQ", message, 536)
