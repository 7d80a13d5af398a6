"""CPython's own test files, run in sforked children.

The files are Debian's (libpython3.X-testsuite), of the interpreter's own version, and reach the sandbox
with /usr. What does not succeed inside must end the same outside, run by an ordinary user, or be listed
here with its reason: docs/real-work.md has the table.
"""
import concurrent.futures
import re

import pytest
import realwork

INTERPRETER = ["/usr/bin/python3", "-I", "-B", "-X", "utf8"]
NO_NETWORK = "a sandbox has no network: sockets are UNIX sockets only"
NO_TERMINAL = "a sandbox has no pseudo-terminals"
NO_IDENTITY = "calls that change ids are refused, whatever they would change to"
TMPFS = "/tmp is a tmpfs: no user attributes, no polled reads"
NO_NOTIFICATION = "fcntl's F_NOTIFY is not on the filter's list"

# A topic's modules, the tests of them that are left out because they take long, and those that may end
# differently, with the reason.
TOPICS = {
    "threads": (["test_threading", "test_thread", "test_threading_local", "test_sched",
                 "test_threadedtempfile"], r"SubinterpThreadingTests", {}),
    "processes": (["test_subprocess", "test_popen", "test_posix"], r"NoPoll|check_output_timeout", {
        r"test_posix\..*(setres[ug]id|resetids)": NO_IDENTITY,
        r"test_posix\..*test_preadv_flags": TMPFS}),
    "pools": (["test_concurrent_futures"],
              r"Spawn|Forkserver|Deadlock|Fork(Wait|AsCompleted)|test_map_timeout", {}),
    "signals and timers": (["test_signal", "test_time"], r"StressTest|Siginterrupt", {
        r"test_signal\.WakeupFDTests\.test_(invalid_socket|set_wakeup_fd_socket_result)": NO_NETWORK}),
    "polling": (["test_selectors", "test_poll", "test_select"], r"test_poll2", {}),
    "randomness and digests": (["test_hashlib", "test_hmac", "test_secrets", "test_random"],
                               r"case_large|huge", {}),
    "files": (["test_os", "test_mmap", "test_fileio", "test_file", "test_fcntl", "test_tempfile"], "^$", {
        r"test_os\.ExtendedAttributeTests": TMPFS,
        r"test_os\.(FDInheritanceTests\.test_openpty|PseudoterminalTests)": NO_TERMINAL,
        r"test_os\.PosixUidGidTests": NO_IDENTITY,
        r"test_os\.TestSendfile": NO_NETWORK,
        r"test_fcntl\..*test_fcntl_64_bit": NO_NOTIFICATION}),
    "streams": (["test_io", "test_bufio", "test_memoryio", "test_zlib", "test_gzip"],
                r"test_io\.Py|test_memoryio\.Py|Signals|daemon_threads", {}),
    "asyncio": ([f"test_asyncio.test_{name}" for name in
                 ("subprocess", "locks", "queues", "futures", "runners", "taskgroups", "selector_events")],
                r"Subprocess(Threaded|Fast|Safe)", {}),
    "collection": (["test_gc", "test_finalization", "test_weakset", "test_weakref"], "^$", {}),
    "data": (["test_json", "test_struct", "test_dbm_dumb", "test_shelve"], r"test_json\..*\.Py", {}),
}


def reason_of(test, explained):
    return next((reason for pattern, reason in explained.items() if re.search(pattern, test)), None)


def differing(ended, outside):
    """The tests that did not succeed inside and ended in another way outside."""
    return {test: f"{how} (outside: {outside.get(test)})" for test, how in ended.items()
            if how.split(":")[0] != outside.get(test, "not run").split(":")[0]}


def only(tests):
    """Arguments for just these tests; `setUpClass (test.x.Y)` stands for a class of them."""
    return ["--only", *(re.sub(r"^\w+ \((.*)\)$", r"\1", test) for test in tests)]


def results_of(spored, topic):
    """How the topic's tests ended inside, and which of them differ without a reason."""
    modules, without, explained = TOPICS[topic]
    found = realwork.inside(spored, "unittests.py", *modules, "--without", without)
    rest = {test: how for test, how in found.items() if how != "ok" and not reason_of(test, explained)}
    if not rest:
        return found, {}
    ended = realwork.outside(INTERPRETER, "unittests.py", *modules, *only(rest))
    differs = differing(rest, ended)
    if differs:
        # Some tests measure time, and the host may be busy: none is given more than a second try.
        again = realwork.inside(spored, "unittests.py", *modules, *only(differs))
        differs = differing({test: again.get(test, "not run") for test in differs}, ended)
    return found, differs


@pytest.fixture(scope="module")
def results(spored, request):
    """Most of the tests wait most of the time: several of the chosen topics at once."""
    topics = [item.callspec.params["topic"] for item in request.session.items if item.module is request.module]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield {topic: pool.submit(results_of, spored, topic) for topic in topics}


@pytest.mark.parametrize("topic", TOPICS)
def test_library_tests(results, topic):
    found, differs = results[topic].result()
    assert not differs, differs
    assert not [test for test in found if "_FailedTest" in test], "a module could not be loaded"
    assert sum(how == "ok" for how in found.values()) >= 80, found
    for pattern in TOPICS[topic][2]:
        assert any(re.search(pattern, test) and how != "ok" for test, how in found.items()), (
            f"nothing fails that {pattern} explains")
