"""Zygotes whose memory was moved into a file before they are copied (docs/sfork.md, "Flat fork")."""
import os
import pathlib
import re
import shutil
import subprocess

import daemon
import java
import natives
import pytest

MIB = 1 << 20
# An interpreter of the tests' own, below /usr: that is what images show of the host.
PLACE = pathlib.Path(f"/usr/lib/spore-test-flat-{os.getpid()}")
PYTHON = PLACE / "bin/python3"
MODULES = {
    # Tables of 64 MiB and many small objects, and memory that an allocator would give back.
    "table": "import hashlib, mmap\n"
             "data = bytearray(b''.join(hashlib.blake2b(i.to_bytes(4, 'big')).digest() for i in range(1 << 20)))\n"
             "digest = hashlib.sha256(data).hexdigest()\n"
             "objects = [str(i) for i in range(300_000)]\n"
             "scratch = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
             "scratch.write(b'x' * (4 << 20))\n",
    # As above, and memory that a child must not have.
    "wiped": "from table import *\n"
             "secret = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
             "secret.write(b's' * (1 << 20))\nsecret.madvise(18)\n",
}
IMAGES = {
    "large": 'preload = ["table"]',
    "large-not": 'preload = ["table"]\nflat = false',
    "large-wiped": 'preload = ["wiped"]',
}
NODE_APP = """
const table = require('table');
exports.handler = async (event) => {
  const same = require('crypto').createHash('sha256').update(table.data).digest('hex') === table.digest;
  table.data.fill(event);
  for (let i = 0; i < 20; i++) globalThis.garbage = Array.from({ length: 100000 }, (_, j) => ({ j }));
  return [same, table.objects.size, table.objects.get('k77') === 77];
};
"""
NODE_MODULE = """
const { createHash, randomBytes } = require('crypto');
exports.data = randomBytes(64 << 20);
exports.digest = createHash('sha256').update(exports.data).digest('hex');
exports.objects = new Map(Array.from({ length: 100000 }, (_, i) => ['k' + i, i]));
exports.more = Array.from({ length: 500000 }, (_, i) => ({ i, text: 't' + i }));
"""
JAVA_TABLE = """
package flat;
public class Table {
  static final byte[] DATA = new byte[160 << 20];
  static final java.util.HashMap<String, Integer> MAP = new java.util.HashMap<>();
  static { new java.util.Random(7).nextBytes(DATA); for (int i = 0; i < 100000; i++) MAP.put("k" + i, i); }
  public Object answer(Object event) {
    byte[] again = new byte[1 << 20];
    new java.util.Random(7).nextBytes(again);
    boolean same = java.util.Arrays.equals(again, 0, again.length, DATA, 0, again.length);
    java.util.Arrays.fill(DATA, 0, 32 << 20, (byte) 1);
    byte[][] garbage = new byte[64][];
    for (int i = 0; i < 2000; i++) garbage[i % 64] = new byte[100000];
    System.gc();
    return new Object[] {same, MAP.get("k77") == 77 && MAP.size() == 100000};
  }
}
"""
NATIVE_TABLE = """
#include <stdlib.h>
#include <string.h>
char* table;
__attribute__((constructor)) static void fill(void) { table = malloc(64 << 20); memset(table, 7, 64 << 20); }
"""
JAR = f"/usr/share/java/spore-test-flat-{os.getpid()}.jar"
NATIVE_LIBRARY = PLACE / "libtable.so"
APP = """
import ctypes, hashlib, mmap, os, re, table

def handler(event, context):
    return globals()[event["do"]](event)

def same(event):
    right = hashlib.sha256(table.data).hexdigest() == table.digest and table.objects == [str(i) for i in range(300_000)]
    for i in range(0, len(table.data), 4096):
        table.data[i] ^= 1 + event["i"]
    pid = os.fork()
    if pid == 0:
        for i in range(0, len(table.data), 4096):
            table.data[i] ^= 1 + event["i"]
        os._exit(0 if hashlib.sha256(table.data).hexdigest() == table.digest else 1)
    return [right, os.waitpid(pid, 0)[1]]

def discard(event):
    before = table.scratch[:10].decode()
    table.scratch.madvise(mmap.MADV_DONTNEED, 0, 1 << 20)
    zero = table.scratch[:1 << 20] == bytes(1 << 20)
    table.scratch.madvise(8, 1 << 20, 1 << 20)
    table.scratch[:3] = b"new"
    return [before, zero, table.scratch[3 << 20:(3 << 20) + 4].decode(), table.scratch[:4].hex()]

def grow(event):
    table.scratch.resize(64 << 20)
    kept = table.scratch[:4 << 20] == b"x" * (4 << 20)
    zero = table.scratch[4 << 20:] == bytes(60 << 20)
    table.data += bytes(100 << 20)
    table.data[-1] = 1
    return [kept, zero, hashlib.sha256(table.data[:64 << 20]).hexdigest() == table.digest, len(table.data) >> 20]

def files(event):
    mapped = [line.split()[0] for line in open("/proc/self/maps") if "memfd:spore-zygote" in line]
    answers = set()
    for name in mapped[:20]:
        try:
            os.close(os.open("/proc/self/map_files/" + name, os.O_RDWR))
            answers.add("opened")
        except OSError as error:
            answers.add(error.strerror)
    opened = [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and os.path.exists("/proc/self/fd/" + fd)]
    return {"mapped": len(mapped), "answers": sorted(answers), "opened": [name for name in opened if "memfd" in name]}

def fill(event):
    # Past libsfork, as hostile code would: a mapping of the file that goes on behind its end.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ends = []
    for line in open("/proc/self/maps").readlines():
        if "memfd:spore-zygote" not in line:
            continue
        begin, end = (int(word, 16) for word in line.split()[0].split("-"))
        pid = os.fork()
        if pid == 0:
            grown = libc.syscall(25, ctypes.c_long(begin), ctypes.c_long(end - begin), ctypes.c_long(1 << 32), 1, 0)
            os._exit(9 if grown < 0 else ctypes.string_at(grown + (1 << 32) - 4096, 1)[0])
        ends.append(os.waitpid(pid, 0)[1])
    return ends

def secret(event):
    import wiped
    return wiped.secret[:] == bytes(1 << 20)
"""


@pytest.fixture(scope="module")
def spored():
    version = subprocess.check_output(["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                                      text=True).strip()
    packages = PLACE / f"lib/python{version}/site-packages"
    try:
        packages.mkdir(parents=True)
        PYTHON.parent.mkdir()
        PYTHON.symlink_to("/usr/bin/python3")
        (PLACE / "pyvenv.cfg").write_text("home = /usr/bin\n")
        for name, text in MODULES.items():
            (packages / f"{name}.py").write_text(text)
        server = daemon.Spored()
        images = server.directory / "images"
        server.write_config({"image-dirs": [str(images)]})
        for name in ("python", "node", "java", "native"):
            shutil.copy(daemon.ROOT / f"images/{name}.toml", images)
        for name, text in IMAGES.items():
            (images / f"{name}.toml").write_text(f'runtime = "python"\ninterpreter = "{PYTHON}"\n{text}\n')
        (PLACE / "table").mkdir()
        (PLACE / "table/index.js").write_text(NODE_MODULE)
        (images / "large-node.toml").write_text(
            f'runtime = "node"\npreload = ["table"]\n[environment]\nNODE_PATH = "{PLACE}"\n')
        classes = server.directory / "classes"
        classes.mkdir()
        java.jar(java.compile_into(classes, {"flat/Table.java": JAVA_TABLE}), JAR)
        for name, options in (("large-java", []), ("large-g1", ["-XX:+UseG1GC"])):
            (images / f"{name}.toml").write_text(
                f'runtime = "java"\npreload = ["flat.Table"]\noptions = {daemon.toml_value(options)}\n'
                f'[environment]\nCLASSPATH = "{JAR}"\n')
        (PLACE / "table.c").write_text(NATIVE_TABLE)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(NATIVE_LIBRARY), str(PLACE / "table.c")], check=True)
        (images / "large-native.toml").write_text(f'runtime = "native"\npreload = ["{NATIVE_LIBRARY}"]\n')
        with server.running():
            yield server
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)
        pathlib.Path(JAR).unlink(missing_ok=True)


def zygote(spored, image):
    assert spored.cli("zygote", "warm", image).code == 0
    return [z for z in spored.cli("zygote", "ls", "--json").json() if z["image"] == image][0]


def deploy(spored, image):
    spored.deploy(f"on-{image}", {"app.py": APP}, image=image, isolation="ISOLATION_INVOCATION",
                  limits={"memory_bytes": 512 * MIB})
    return lambda do, **event: spored.result(f"on-{image}", {"do": do, **event})


@pytest.fixture(scope="module")
def large(spored):
    return deploy(spored, "large")


def test_a_large_zygote_is_flat(spored, large):
    found = zygote(spored, "large")
    assert found["flat_bytes"] > 80 * MIB and found["unmoved_bytes"] < 4 * MIB and found["flat_note"] == ""
    assert found["memory_bytes"] > 80 * MIB
    smaps = pathlib.Path(f"/proc/{found['pid']}/smaps").read_text()
    mapped = [int(size) for size in re.findall(r"memfd:spore-zygote.*\nSize: +(\d+) kB", smaps)]
    assert sum(mapped) * 1024 >= found["flat_bytes"]
    row = [line for line in spored.cli("zygote", "ls").out.splitlines() if line.startswith("large ")][0]
    assert row.split()[-1] == "MiB", row


def test_every_child_has_the_same_and_its_own(spored, large):
    for i in range(5):
        assert large("same", i=i) == [True, 0]
    # None of that has made the zygote's own pages: it would be slower to copy.
    smaps = pathlib.Path(f"/proc/{zygote(spored, 'large')['pid']}/smaps").read_text()
    written = re.findall(r"memfd:spore-zygote[^V]*?Anonymous: +(\d+) kB", smaps)
    assert sum(map(int, written)) < 4096


def test_discarded_memory_is_zero(large):
    assert large("discard") == ["xxxxxxxxxx", True, "xxxx", "6e657700"]


def test_memory_grows_with_zeros(large):
    assert large("grow") == [True, True, True, 164]


def test_nobody_gets_at_the_file(large):
    found = large("files")
    assert found["mapped"] > 0 and found["opened"] == []
    assert set(found["answers"]) <= {"Operation not permitted", "Permission denied", "No such file or directory"}


def test_the_file_cannot_be_filled(large):
    """Nothing is behind its end, and nothing comes into being by being looked at: SIGBUS; or SIGSEGV, where
    the interpreter misses what was moved first."""
    ends = large("fill")
    assert 7 in ends and set(ends) <= {7, 11}, ends


def test_an_image_can_do_without(spored):
    call = deploy(spored, "large-not")
    assert call("same", i=1) == [True, 0] and call("files")["mapped"] == 0
    assert call("discard") == ["xxxxxxxxxx", True, "xxxx", "6e657700"]
    found = zygote(spored, "large-not")
    assert found["flat_bytes"] == 0 and found["flat_note"] == "the image says flat = false"
    assert spored.cli("image", "show", "large-not", "--json").json()["flat"] is False
    assert "no, by its manifest" in spored.cli("image", "show", "large-not").out
    assert spored.cli("image", "show", "large", "--json").json()["flat"] is True


def test_what_was_not_moved_is_told(spored):
    call = deploy(spored, "large-wiped")
    assert call("secret") is True and call("same", i=1) == [True, 0]
    found = zygote(spored, "large-wiped")
    assert found["flat_bytes"] > 80 * MIB and found["unmoved_bytes"] >= MIB
    assert "1024 KiB wiped in children" in found["flat_note"]
    assert "1024 KiB wiped in children" in spored.log_text()


@pytest.mark.parametrize("image", ["python", "node", "java", "native"])
def test_small_zygotes_are_left_alone(spored, image):
    found = zygote(spored, image)
    assert found["flat_bytes"] == 0 and found["flat_note"] == "too little to be worth it", found
    assert found["unmoved_bytes"] > 0


def test_node(spored):
    found = zygote(spored, "large-node")
    assert found["flat_bytes"] > 96 * MIB and found["unmoved_bytes"] < 8 * MIB, found
    spored.deploy("in-node", {"app.js": NODE_APP}, runtime="node", image="large-node",
                  isolation="ISOLATION_INVOCATION", limits={"memory_bytes": 512 * MIB})
    for i in range(3):
        assert spored.result("in-node", i) == [True, 100_000, True]


@pytest.mark.parametrize("image", ["large-java", "large-g1"])
def test_java(spored, image):
    found = zygote(spored, image)
    assert found["flat_bytes"] > 160 * MIB and found["unmoved_bytes"] < 8 * MIB, found
    spored.deploy(f"in-{image}", {"nothing": ""}, "flat.Table::answer", "ISOLATION_INVOCATION",
                  runtime="java", image=image, limits={"memory_bytes": 1024 * MIB})
    for _ in range(3):
        assert spored.result(f"in-{image}", 1) == [True, True]


def test_native(spored):
    found = zygote(spored, "large-native")
    assert found["flat_bytes"] > 64 * MIB, found
    spored.deploy("in-native", {"a.so": natives.library("handlers.c")}, runtime="native", image="large-native",
                  handler="a.so:lists_libraries")
    assert any("libtable.so" in path for path in spored.result("in-native"))
