"""Much memory in a branch: byte for byte the source's, and charged for as it is there, whatever pages it is copied into."""
import pytest
import sandboxes

SPORED_CONFIG = {"max-instances": 24}
SLACK = 3 << 20  # what the kernel charges ahead of need, and runtimes have beside what they were told to

# 2 MiB ranges: whole ones, some with a page that was never touched at either end or within, every second page of one, and
# neighbours that may not be written to, or read.
FILL = """
import mmap, ctypes, hashlib
page, large = 4096, 2 << 20
libc = ctypes.CDLL(None, use_errno=True)
def area(count):
    made = mmap.mmap(-1, (count + 1) * large, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(made))
    return made, address, -address % large
def fill(made, at, numbers):
    for number in numbers:
        made[at + number * page:at + (number + 1) * page] = (number ^ 0x5a5a).to_bytes(4, 'little') * (page // 4)
whole, whole_address, whole_at = area(12)
fill(whole, whole_at, range(12 * 512))
holes, holes_address, holes_at = area(4)
fill(holes, holes_at, (n for n in range(4 * 512) if n not in (0, 511, 513, 1024 + 256, 2047)))
half, half_address, half_at = area(8)
fill(half, half_at, range(0, 8 * 512, 2))
guarded, guarded_address, guarded_at = area(4)
fill(guarded, guarded_at, range(4 * 512))
def protect(first, count, rights):
    assert libc.mprotect(ctypes.c_void_p(guarded_address + guarded_at + first * page), ctypes.c_size_t(count * page), rights) == 0
def forget(address, at, first, count):
    assert libc.madvise(ctypes.c_void_p(address + at + first * page), ctypes.c_size_t(count * page), 4) == 0
protect(0, 512, 1); protect(700, 512, 0)
def digest():
    protect(0, 4 * 512, 3)
    found = [hashlib.sha256(each).hexdigest() for each in (whole, holes, half, guarded)]
    protect(0, 512, 1); protect(700, 512, 0)
    return found
"""


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"memory_bytes": 192 << 20}) as made:
        done = made.code(FILL)
        assert not done["error"], done
        yield made


def charged(box):
    return box.inspect()["memory_bytes"]


def copies(box, count=1):
    response = box.call("Branch", copies=count)
    return response, [sandboxes.Sandbox(box.spored, each["id"]) for each in response["sessions"]]


def test_it_is_the_same_and_charged_the_same(box):
    before = charged(box)
    response, (first, second) = copies(box, 2)
    # Of every second page the others are not, and nothing comes twice.
    assert (12 + 4 + 4 + 4) * (2 << 20) <= response["copied_bytes"] / 2 + 5 * 4096 <= (12 + 4 + 4 + 4 + 8) * (2 << 20)
    for copy in (first, second):
        assert charged(copy) <= before + SLACK, (charged(copy), before)
    expected = box.value("digest()")
    for copy in (first, second):
        assert copy.value("digest()") == expected
    # Apart from each other.
    first.code("fill(whole, whole_at, range(700, 900)); whole[whole_at] = 255")
    second.code("forget(whole_address, whole_at, 512, 700)")
    assert box.value("digest()") == expected
    for copy in (first, second):
        assert copy.value("digest()") != expected
        copy.kill()


def test_generations(box):
    expected, before = box.value("digest()"), charged(box)
    _, (child,) = copies(box)
    # Parts of what may be one large page: given back, written to again, with other rights.
    change = ("forget(whole_address, whole_at, 100, 300); forget(whole_address, whole_at, 1024, 512)\n"
              "protect(100, 20, 0)\nfill(whole, whole_at, [512, 1030]); fill(half, half_at, range(1, 512, 2))\ndigest()")
    changed = child.value(change)
    assert changed != expected
    _, (grandchild,) = copies(child)
    child.kill()
    assert grandchild.value("digest()") == changed
    assert charged(grandchild) <= before + SLACK
    assert box.value(change) == changed
    # What it has may grow, move and go as in any other.
    assert grandchild.value("whole.resize(40 << 20); whole.resize(30 << 20); guarded.close; half.close; len(whole)") == str(30 << 20)
    grandchild.kill()


def test_a_limit_that_just_suffices(spored, box):
    needed = charged(box)
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"memory_bytes": needed + 2 * SLACK}) as tight:
        assert not tight.code(FILL)["error"]
        _, (copy,) = copies(tight)
        expected = tight.value("digest()")
        assert copy.value("digest()") == expected == box.value("digest()")
        copy.kill()


def test_a_branch_goes_to_the_disk(spored, box):
    """CRIU takes large pages for what they are, too."""
    expected = box.value("digest()")
    _, (copy,) = copies(box)
    spored.call("SessionCheckpoints", "Create", {"id": copy.id, "name": "large"})
    back = sandboxes.Sandbox(spored, spored.call("SessionCheckpoints", "Restore", {"name": "large"})["id"])
    try:
        assert back.value("digest()") == expected
    finally:
        back.kill()
        spored.call("SessionCheckpoints", "Remove", {"name": "large"})
