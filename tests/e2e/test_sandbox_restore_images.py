"""Restores of images that somebody has changed: refused, or what comes of them is what any session is."""
import os
import pathlib
import random
import time

import criu_images
import pytest
import restores
import sandboxes
from test_sandbox_restore_hostile import assert_confined

SPORED_CONFIG = {"max-instances": 60}
CRIU = next((p for p in ("/usr/local/lib/spore/criu/usr", "/usr/lib/spore/criu/usr", "/usr")
             if os.access(p + "/sbin/criu", os.X_OK)), None)
CORE_TASK, CORE_THREAD, CREDENTIALS = 3, 5, 10


class Dumped:
    """A session on disk: its record and its files."""

    def __init__(self, spored):
        with sandboxes.sandbox(spored, ttl_ms=600_000) as box:
            box.code("import os, threading, time\nlog = open('/tmp/log', 'w'); log.write('x'); log.flush()\n"
                     "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
                     "pipe = os.pipe(); os.write(pipe[1], b'in the pipe')")
            box.detach("sh", "-c", "while :; do sleep 1000; done")
            name = spored.call("SessionCheckpoints", "Create", {"id": box.id})["checkpoint"]["name"]
        self.record, files = criu_images.read_checkpoint(spored, name)
        spored.call("SessionCheckpoints", "Remove", {"name": name})
        self.images = {path[7:]: data for path, data in files.items() if path.startswith("images/")}
        self.files = {path[6:]: data for path, data in files.items() if path.startswith("files/")}

    def cores(self):
        return [name for name in self.images if name.startswith("core-")]

    def restore(self, empty, changed=None, words=(), limit_ms=60_000):
        empty.clear()
        images = {**self.images, **(changed or {})}
        return restores.restore(
            empty, CRIU, {name: data for name, data in images.items() if data is not None}, self.files,
            agent=self.record["agent"], descriptor=self.record["agentDescriptor"],
            last=self.record["lastNumber"], limit_ms=limit_ms, words=words)


@pytest.fixture(scope="module")
def dumped(spored):
    return Dumped(spored)


@pytest.fixture
def empty(spored, dumped):
    made = restores.Empty(spored)
    yield made
    made.end()


def taken(done):
    """That it was restored; who took it lets go of it."""
    assert done.error == "" and len(done.fds) == 2, done
    for fd in done.fds:
        os.close(fd)


def refused(empty, done, expected):
    assert not done.fds and expected in done.error, done
    assert empty.view() == empty.before


def test_as_it_was_dumped(empty, dumped):
    taken(dumped.restore(empty))
    assert_confined(empty)


def rename(data, old, new):
    """files.img with another path of a file, which is read, and whose size and mode are not asked for."""
    def reg(text):
        parts = criu_images.fields(text)
        if (6, 2, old) not in parts:
            return text
        return criu_images.message([(n, k, {6: new, 2: 0}.get(n, v)) for n, k, v in parts if n not in (8, 10)])

    return criu_images.change(data, [3], reg)


@pytest.mark.parametrize("path, expected", [
    (b"/proc/stat", "in CRIU's workplace"),
    (b"/run/spore/checkpoint/images/files.img", ""),
    (b"/run/spore/checkpoint/kernel/criu.kdat", ""),
    (b"/proc/1/mem", "CRIU failed"),
    (b"/proc/1/environ", "CRIU failed"),
    (b"/proc/sysrq-trigger", "CRIU failed"),
    (b"/etc/shadow", "CRIU failed"),
    (b"/proc/1/root/etc/passwd", "CRIU failed"),
])
def test_files_are_those_that_a_tenant_can_open(empty, dumped, path, expected):
    done = dumped.restore(empty, {"files.img": rename(dumped.images["files.img"], b"/tmp/log", path)})
    refused(empty, done, expected)


def test_credentials_are_of_no_use(empty, dumped):
    def all_powerful(text):
        return criu_images.message(
            [(n, k, 0 if n <= 8 or n in (13, 18) else 0xffffffff) for n, k, v in criu_images.fields(text)]
            + [(14, 0, 0), (14, 0, 27)])

    changed = {name: criu_images.change(dumped.images[name], [CORE_THREAD, CREDENTIALS], all_powerful)
               for name in dumped.cores()}
    taken(dumped.restore(empty, changed))
    assert_confined(empty)


def test_limits_are_the_sandboxs(empty, dumped):
    def unlimited(text):
        return criu_images.message(
            [(n, k, criu_images.message([(m, j, 2**64 - 1) for m, j, _ in criu_images.fields(v)]))
             for n, k, v in criu_images.fields(text)])

    changed = {name: criu_images.change(dumped.images[name], [CORE_TASK, 8], unlimited)
               for name in dumped.cores()}
    taken(dumped.restore(empty, changed))
    for pid in empty.processes() - empty.before[0]:
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        hard = {line[:26].strip(): line[47:68].strip() for line in limits.splitlines()[1:]}
        assert (hard["Max open files"], hard["Max core file size"], hard["Max msgqueue size"],
                hard["Max nice priority"], hard["Max pending signals"]) == ("1024", "1", "0", "0", "1024")


def test_a_filter_of_ones_own_is_not_loaded(empty, dumped):
    changed = {name: criu_images.change(
        dumped.images[name], [CORE_THREAD], lambda text: text + criu_images.message([(11, 0, 2), (12, 0, 0)]))
        for name in dumped.cores()}
    taken(dumped.restore(empty, changed))
    assert_confined(empty)


def test_namespaces_are_the_sandboxs(empty, dumped):
    name = next(n for n in dumped.images if n.startswith("ids-"))
    # Of a kind each: pid, net, ipc, uts, mount, user, cgroup, time.
    for number in range(5, 13):
        def other(text, number=number):
            return criu_images.message([(n, k, 77 if n == number else v)
                                        for n, k, v in criu_images.fields(text) if n != number]
                                       + [(number, 0, 77)])
        done = dumped.restore(empty, {name: criu_images.change(dumped.images[name], [], other)})
        if done.fds:  # a kind that CRIU does not look at
            taken(done)
            assert_confined(empty)
            return
        refused(empty, done, "CRIU failed")


@pytest.mark.parametrize("name", ["inventory.img", "pstree.img", "files.img", "mm-2.img", "pagemap-2.img",
                                  "pages-1.img", "core-2.img", "ids-2.img", "fs-2.img"])
def test_what_is_missing_or_cut_is_refused(empty, dumped, name):
    name = name.replace("-2.", f"-{dumped.record['agent']}.")
    whole = dumped.images[name]
    cuts = [None, b"", whole[:7], whole[:len(whole) // 2]]
    # Of memory that is cut CRIU notices nothing, but for what it waits for.
    waits = name.startswith("pages-")
    for data in cuts[:1] + cuts[3:] if waits else cuts:
        done = dumped.restore(empty, {name: data}, limit_ms=10_000 if waits else 60_000)
        assert done.error and not done.fds, (name, data and len(data), done)
        assert empty.view() == empty.before


def test_what_is_changed_at_random_is_refused_or_confined(spored, dumped):
    chance = random.Random(7)
    names = sorted(n for n in dumped.images if not n.startswith("pages-"))
    empty, until, came = restores.Empty(spored), time.monotonic() + 6, 0
    try:
        while time.monotonic() < until:
            name = chance.choice(names)
            data = bytearray(dumped.images[name])
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(8, len(data))] = chance.randrange(256)
            done = dumped.restore(empty, {name: bytes(data)}, limit_ms=5_000)
            if not done.fds:
                assert done.error, (name, done)
                assert empty.view() == empty.before
                continue
            taken(done)
            assert_confined(empty, lives=False)  # what it does next may be its end
            came += 1
            empty.end()
            if came > 20:
                return
            empty = restores.Empty(spored)
    finally:
        empty.end()


def test_clocks_go_on_where_those_of_the_host_are_behind(empty, dumped):
    ahead = 10**15
    words = [f"monotonic-ns={time.clock_gettime_ns(time.CLOCK_MONOTONIC) + ahead}",
             f"boottime-ns={time.clock_gettime_ns(time.CLOCK_BOOTTIME) + ahead}"]
    done = dumped.restore(empty, words=words)
    assert done.error == "", done
    # And once more from there.
    fate, error, monotonic, boottime = restores.checkpoint(empty, CRIU, done.fds[0], dumped.record["agent"])
    assert (fate, error) == (1, "")
    assert min(monotonic, boottime) > ahead and max(monotonic, boottime) < 2 * ahead
    taken(done)
    assert_confined(empty)
    for pid in empty.processes() - empty.before[0]:
        offsets = pathlib.Path(f"/proc/{pid}/timens_offsets").read_text().split()
        assert 10**6 - 600 < int(offsets[1]) < 10**6 and 10**6 - 600 < int(offsets[4]) < 10**6
    assert pathlib.Path(f"/proc/{empty.init}/timens_offsets").read_text().split()[1] == "0"


def test_clocks_that_are_ahead_are_left_alone(empty, dumped):
    taken(dumped.restore(empty, words=["monotonic-ns=1", "boottime-ns=1"]))
    for pid in empty.processes() - empty.before[0]:
        assert os.readlink(f"/proc/{pid}/ns/time") == os.readlink(f"/proc/{empty.init}/ns/time")
