"""Assembles an initramfs from files of this machine: programs with their libraries, Python, this tree.

The archive is the kernel's "newc" cpio format (kernel docs: driver-api/early-userspace/buffer-format).
"""

import os
import re
import stat
import subprocess
import tempfile


class Archive:
    """Collects paths and writes them; every path keeps its place, parents are added."""

    def __init__(self):
        self.entries = {}  # target path -> source path, or (mode, bytes) for what is made up here

    def add(self, path, source=None):
        """One file, link or directory (not what is below it). Links bring their target along."""
        source = source or path
        # The directories of the path may be links themselves (/lib -> usr/lib): keep the real place.
        if source == path:
            path = source = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if path in self.entries:
            return
        self.add_parents(path)
        self.entries[path] = source
        if os.path.islink(source):
            target = os.path.join(os.path.dirname(source), os.readlink(source))
            if os.path.exists(target):
                self.add(os.path.normpath(target))

    def add_parents(self, path):
        parent = os.path.dirname(path)
        if parent not in ("/", "") and parent not in self.entries:
            self.add_parents(parent)
            self.entries[parent] = (stat.S_IFDIR | 0o755, b"")

    def add_text(self, path, text, mode=0o644):
        self.add_parents(path)
        self.entries[path] = (stat.S_IFREG | mode, text.encode())

    def add_directory(self, path, mode=0o755):
        self.add_parents(path)
        self.entries[path] = (stat.S_IFDIR | mode, b"")

    def add_link(self, path, target):
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode())

    def add_tree(self, top, leave_out=lambda path: False):
        for directory, names, files in os.walk(top):
            names[:] = [n for n in names if not leave_out(os.path.join(directory, n))]
            for name in names + files:
                path = os.path.join(directory, name)
                if not leave_out(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
                    self.add(path)

    def add_libraries(self):
        """The shared libraries of every program and library collected so far."""
        for source in [s for s in self.entries.values() if isinstance(s, str)]:
            for library in libraries_of(source):
                self.add(library)

    def write(self, path):
        with open(path, "wb") as output:
            for number, target in enumerate(sorted(self.entries)):
                write_entry(output, number + 1, target.lstrip("/"), self.entries[target])
            write_entry(output, 0, "TRAILER!!!", (0, b""))


def write_entry(output, inode, name, source):
    if isinstance(source, tuple):
        mode, data = source
    else:
        mode = os.lstat(source).st_mode
        data = b""
        if stat.S_ISLNK(mode):
            data = os.readlink(source).encode()
        elif stat.S_ISREG(mode):
            data = without_debug(source) if is_elf(source) else read(source)
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    for part in (header + encoded, data):
        output.write(part)
        output.write(b"\0" * (-output.tell() % 4))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def without_debug(path):
    """What debuggers want is most of a program here, and all of it would be in the machine's memory."""
    if os.path.getsize(path) < 1 << 20:
        return read(path)
    with tempfile.NamedTemporaryFile() as stripped:
        done = subprocess.run(["strip", "--strip-debug", "-o", stripped.name, path], capture_output=True)
        return read(stripped.name if done.returncode == 0 else path)


def is_elf(path):
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries_of(path):
    if not is_elf(path):
        return []
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", done.stdout, re.M)
