"""Python images whose preloads start threads: docs/sfork.md, and `threads` in spore-image(5)."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess

import daemon
import natives
import pytest

# An interpreter with modules of the tests' own, made like a virtual environment, below /usr: that is
# what images show of the host.
PLACE = pathlib.Path(f"/usr/lib/spore-test-python-{os.getpid()}")
MODULES = {
    "c_pool": f"import ctypes\nlibrary = ctypes.CDLL('{PLACE}/libthread_pool.so')\n"
              "library.sum_of_squares.argtypes = [ctypes.c_long]\n"
              "library.sum_of_squares.restype = ctypes.c_long\n"
              "assert library.sum_of_squares(1000) == 333833500 and library.poke() == 1\n",
    "openmp": f"import ctypes\nlibrary = ctypes.CDLL('{PLACE}/libopenmp.so')\n"
              "library.count_squares.argtypes = [ctypes.c_long]\n"
              "library.count_squares.restype = ctypes.c_long\n",
    "rpc": "import grpc\nchannel = grpc.insecure_channel('unix:/tmp/socket')\n",
    # As on a host with more CPUs.
    "wide_numpy": "import ctypes, numpy\n"
                  "blas = ctypes.CDLL('libopenblas.so.0')\n"
                  "blas.openblas_set_num_threads(5)\n"
                  "assert (numpy.ones((500, 500)) @ numpy.ones((500, 500)) == 500).all()\n",
    "beats": "import threading, time\n"
             "threading.Thread(target=time.sleep, args=(1000,), name='beat', daemon=True).start()\n",
    "attaches": "import ctypes, threading, time, c_pool\n"
                "entered = threading.Event()\n"
                "@ctypes.CFUNCTYPE(None)\n"
                "def sleep():\n    entered.set()\n    time.sleep(1000)\n"
                "c_pool.library.call_elsewhere(sleep)\nentered.wait()\n",
    "ends": "import threading\n"
            "thread = threading.Thread(target=print, name='short')\nthread.start()\nthread.join()\n",
    "notes": "import tempfile\nplace = tempfile.mkdtemp()\n",
    "keeps": "import notes\n",
    "logs": "open('/usr/log', 'w')\n",
}
IMAGES = {  # preload, threads
    "wide": (["numpy", "wide_numpy"], True),
    "pool": (["c_pool"], True),
    "openmp": (["openmp"], True),
    "rpc": (["rpc"], True),
    "pool-unsaid": (["c_pool"], False),
    "beats": (["beats"], True),
    "beats-unsaid": (["beats"], False),
    "attaches": (["attaches"], True),
    "ends": (["ends", "threading"], True),
    "keeps": (["keeps"], False),
    "logs": (["logs"], False),
}
APP = r'''
import ctypes, json, multiprocessing, os, random, subprocess, sys, threading
if "numpy" in sys.modules:
    import numpy

def tasks():
    return len(os.listdir("/proc/self/task"))

def product(size=384):
    """Of whole numbers, which both ways of computing give exactly; BLAS has none for integers."""
    generator = numpy.random.default_rng()
    a, b = (generator.integers(0, 9, (size, size)) for _ in range(2))
    return bool((a.astype(float) @ b.astype(float) == a @ b).all())

def ticks():
    """Processor time of each thread, as the kernel counts it."""
    found = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        found[task] = int(fields[11]) + int(fields[12])
    return found

def multiply(event):
    before = tasks()
    right = [product() for _ in range(event.get("times", 1))]
    return {"before": before, "after": tasks(), "right": all(right),
            "drawn": int(numpy.random.randint(1 << 62))}

def busy(event):
    """Until each thread has been seen computing."""
    a = numpy.ones((700, 700))
    for _ in range(2000):
        a @ a
        used = ticks()
        if len(used) == tasks() and all(used.values()):
            return len(used)
    return used

def algebra(event):
    a = numpy.random.default_rng(1).random((300, 300)) + numpy.eye(300) * 300
    x = numpy.linalg.solve(a, numpy.ones(300))
    u, s, v = numpy.linalg.svd(a)
    return [bool(numpy.allclose(a @ x, 1)), bool(numpy.allclose((u * s) @ v, a)),
            bool(numpy.allclose(numpy.linalg.inv(a) @ a, numpy.eye(300)))]

def status(event):
    wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
              "Seccomp_filters", "Cpus_allowed", "SigBlk")
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        found.append({name: lines[name] for name in wanted})
    return found

def forks(event):
    """The child of a child: OpenBLAS ends its threads before a fork(2) and makes them again."""
    right = []
    for _ in range(3):
        right.append(product())
        pid = os.fork()
        if pid == 0:
            os._exit(0 if product() else 1)
        right.append(os.waitpid(pid, 0)[1] == 0)
    with multiprocessing.Pool(2) as pool:
        right += pool.map(product, [100, 300, 384])
    return right + [product()]

def many(event):
    """Python threads of the tenant's own, all of which compute."""
    right = []
    threads = [threading.Thread(target=lambda: right.append(product(256))) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return right + [product()]

def pool(event):
    from c_pool import library
    return [library.sum_of_squares(n) for n in (10, 1000, 100000)] + [library.poke(), library.poke(), tasks()]

def openmp(event):
    from openmp import library
    before = tasks()
    return [library.count_squares(100000) for _ in range(3)] + [library.members(), before, tasks()]

def rpc(event):
    """Calls a server of its own by a channel that the zygote has made."""
    import concurrent.futures, grpc
    from rpc import channel
    before = tasks()
    class Reverse(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request[::-1])
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Reverse()])
    server.add_insecure_port("unix:/tmp/socket")
    server.start()
    answers = [channel.unary_unary("/a/b")(b"abc", wait_for_ready=True).decode() for _ in range(10)]
    server.stop(None).wait()
    return [before > 3, set(answers) == {"cba"}]

def environment(event):
    own = dict(os.environ)
    started = json.loads(subprocess.check_output([sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]))
    return [name for one in (own, started) for name in one if name.startswith("LD_")]

def handler(event, context):
    return globals()[event["do"]](event)
'''
LIMITS = {"memory_bytes": 1 << 30, "timeout_ms": 60000, "pids": 64}


@pytest.fixture(scope="module", autouse=True)
def images(spored):
    packages = PLACE / f"lib/python3.{system_minor()}/site-packages"
    try:
        packages.mkdir(parents=True)
        (PLACE / "bin").mkdir()
        (PLACE / "bin/python3").symlink_to("/usr/bin/python3")
        (PLACE / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
        (PLACE / "libthread_pool.so").write_bytes(natives.library("thread_pool.c", "-pthread"))
        (PLACE / "libopenmp.so").write_bytes(natives.library("openmp.c", "-fopenmp"))
        for name, text in MODULES.items():
            (packages / f"{name}.py").write_text(text)
        images = spored.directory / "images"
        spored.write_config({"image-dirs": [str(images)]})
        shutil.copy(daemon.ROOT / "images/python-numpy-threads.toml", images)
        for name, (preload, threads) in IMAGES.items():
            (images / f"{name}.toml").write_text(
                f'runtime = "python"\npreload = {daemon.toml_value(preload)}\n'
                f'interpreter = "{PLACE}/bin/python3"\n' + "threads = true\n" * threads)
        assert spored.stop() == 0
        spored.start()
        yield
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)


def system_minor():
    return subprocess.check_output(
        ["/usr/bin/python3", "-c", "import sys; print(sys.version_info[1])"], text=True).strip()


def deploy(spored, image, limits=None):
    name = f"on-{image}"
    spored.deploy(name, {"app.py": APP}, image=image, isolation="ISOLATION_INVOCATION", limits=limits or LIMITS)
    return lambda do, **event: spored.result(name, {"do": do, **event})


@pytest.fixture(scope="module")
def wide(spored):
    return deploy(spored, "wide")


def image(spored, name):
    return [one for one in spored.call("System", "Info")["images"] if one["name"] == name][0]


def threads_of_zygote(spored, name):
    return len(os.listdir(f"/proc/{image(spored, name)['zygote_pid']}/task"))


def test_products_use_every_thread(spored, wide):
    found = wide("multiply", times=5)
    assert found["right"] and found["before"] == found["after"] == threads_of_zygote(spored, "wide") == 5
    assert wide("busy") == 5


def test_linear_algebra(wide):
    assert wide("algebra") == [True, True, True]


def test_threads_are_confined(wide):
    threads = wide("status")
    assert len(threads) == 5 and all(one == threads[0] for one in threads), threads
    one = threads[0]
    assert {one[name] for name in one if name.startswith("Cap")} == {"0000000000000000"}
    assert one["NoNewPrivs"] == "1" and one["Seccomp"] == "2" and one["Groups"].strip() == ""
    assert int(one["Uid"].split()[0]) >= 1000 and len(set(one["Uid"].split() + one["Gid"].split())) == 1


def test_tenant_forks_and_makes_threads(wide):
    assert wide("forks") == [True] * 10
    assert wide("many") == [True] * 7


def test_nothing_of_the_preloading_is_left(wide):
    assert wide("environment") == []


def test_the_shipped_image(spored):
    """A hundred sandboxes in a row, each with all threads, which compute; each draws its own numbers."""
    call = deploy(spored, "python-numpy-threads")
    found = [call("multiply") for _ in range(100)]
    expected = threads_of_zygote(spored, "python-numpy-threads")
    assert expected == min(4, os.cpu_count())
    assert all(one["right"] and one["before"] == one["after"] == expected for one in found), found
    assert len({one["drawn"] for one in found}) == len(found)
    assert image(spored, "python-numpy-threads")["forks"] >= 100


def test_siblings_at_once(spored, wide):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: wide("multiply"), range(24)))
    assert all(one["right"] and one["after"] == 5 for one in found), found


def test_pool_and_poller_of_a_library(spored):
    """Workers wait on a condition variable, a poller for an eventfd: a sibling's wakes nobody."""
    call = deploy(spored, "pool")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: call("pool"), range(30)))
    assert found == [[385, 333833500, 333338333350000, 2, 3, 8]] * 30, found


def test_openmp(spored):
    """Its pool is found through thread-local variables of the thread that asks."""
    call = deploy(spored, "openmp")
    assert [call("openmp") for _ in range(20)] == [[333338333350000] * 3 + [15, 4, 4]] * 20


def test_grpc(spored):
    """Its executor, resolver, timers and event engine have threads, timed waits and eventfds."""
    call = deploy(spored, "rpc")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: call("rpc"), range(20))) == [[True, True]] * 20


def test_scripts(spored):
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    script = (b"import c_pool, os\n"
              b"print(c_pool.library.sum_of_squares(1000), c_pool.library.poke(), len(os.listdir('/proc/self/task')))\n")
    with os.fdopen(read) as output:
        death = spored.call("Invocations", "Run", {"runtime": "python", "image": "pool", "args": ["x.py"],
                                                   "script": script}, [null, write, null])["death"]
        os.close(write)
        os.close(null)
        assert (death["cause"], death["exit_code"]) == ("EXIT", 0) and output.read() == "333833500 2 8\n"


def test_too_few_processes_for_the_threads(spored):
    spored.deploy("narrow", {"app.py": APP}, image="pool", isolation="ISOLATION_INVOCATION", limits={"pids": 4})
    error = spored.error_of("Invocations", "Invoke", {"name": "narrow", "payload": b'{"do": "pool"}'})
    assert "thread" in error.message and "pids" in error.message, error


@pytest.mark.parametrize("name,words", [
    ("pool-unsaid", "starts threads, for which the image's manifest must say threads = true"),
    ("beats", "without the Python threads that a preloaded module has started: 'beat'"),
    ("beats-unsaid", "without the Python threads that a preloaded module has started: 'beat'"),
    ("attaches", "without the Python threads that a preloaded module has started: one without a name"),
    # With matplotlib on the host, igraph is such a one.
    ("keeps", "preload keeps: notes writes files when imported, but an image is read-only: take keeps out of preload"),
    ("logs", "preload logs: logs writes files when imported"),
])
def test_image_that_cannot_be_is_told(spored, name, words):
    spored.deploy(f"on-{name}", {"app.py": APP}, image=name)
    error = spored.error_of("Invocations", "Invoke", {"name": f"on-{name}", "payload": b"{}"})
    assert words in error.message, error


def test_switch_without_threads(spored):
    """Nor does a Python thread that has ended while the modules were loaded keep an image from being."""
    call = deploy(spored, "ends")
    assert len(call("status")) == 1
