"""What becomes of a branch when whoever takes part in it ends: the worker, the source, a copy, spored, the client."""
import contextlib
import os
import pathlib
import signal
import time

import daemon
import pytest
import restores
import sandboxes
import ttrpc

POINTS = ["branch-files", "branch-held", "branch-noted", "branch-memory"]


def live(spored):
    return [s["id"] for s in spored.call("Sandboxes", "List", {})["sessions"]]


@pytest.mark.parametrize("how", ["fail", "kill"])
@pytest.mark.parametrize("point", POINTS)
def test_the_worker_ends_anywhere(point, how):
    server = daemon.Spored()
    try:
        server.start({"SPORE_FAULT": f"{point}:{how}"})
        with sandboxes.sandbox(server, ttl_ms=600_000) as box:
            box.code("import threading, time, os\nx = [1]\nr, w = os.pipe()\n"
                     "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()")
            for _ in range(2):
                assert box.error("Branch", copies=2).code == 13
                assert box.value("x.append(1) or len(x) > 1") == "True"
            daemon.wait_until(lambda: live(server) == [box.id], what="the half-made copies are gone")
            assert box.value("os.write(w, b'a') and os.read(r, 9)") == "b'a'"
    finally:
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def spored():
    with daemon.Spored().running() as server:
        yield server


def workers(spored):
    """Of this daemon: another run of these tests beside it has its own."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if restores.status(pid, "Name") == "spore-branch" and restores.status(pid, "PPid") == str(spored.process.pid):
            found.append(int(pid))
    return found


def branch_slowly(spored, box):
    """A branch that takes a while: much memory to copy. The asking thread, and the worker's pid; None: it was over."""
    asking = sandboxes.Asking(box, "Branch", copies=4)
    found = daemon.wait_until(lambda: workers(spored) or not asking.is_alive(), what="the worker runs")
    return asking, None if found is True else found[0]


@pytest.fixture
def big(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"memory_bytes": 400 << 20}) as box:
        box.code("big = bytearray(b'x') * (200 << 20); x = 1")
        yield box


def only(spored, box):
    daemon.wait_until(lambda: live(spored) == [box.id] and not workers(spored), what="nothing is left of it")


def test_the_worker_is_killed_at_random_times(spored, big):
    for delay in (0, 0.005, 0.02, 0.05, 0.1, 0.2):
        asking, worker = branch_slowly(spored, big)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            if worker is not None:
                os.kill(worker, signal.SIGKILL)
        try:
            done = asking.get()
            for each in done["sessions"]:
                copy = sandboxes.Sandbox(spored, each["id"])
                assert copy.value("big[-1]") == "120"
                copy.kill()
        except ttrpc.RpcError as error:
            assert error.code in (13, 14), error
        only(spored, big)
        done = big.code("globals().get('big', b'-')[-1]")
        if done["interpreter_ended"] or done["value"] == str(ord("-")):
            # It was in the middle of a call that the worker had made it do: it ends, and that is said, to who has code run
            # in it at that moment, and in the log.
            said = [line["text"] for line in big.call("ReadLogs")["lines"]]
            assert "SIGKILL" in (done["error"] or {}).get("message", "") or b"the interpreter has ended" in said, (done, said)
            big.code("big = bytearray(b'x') * (200 << 20)")
        else:
            assert done["value"] == "120", done


def spares(spored):
    """The worker that waits for the next branch, if there is one."""
    found = []
    for path in pathlib.Path(f"/proc/{spored.process.pid}/task").glob("*/children"):
        for child in path.read_text().split():
            try:
                if pathlib.Path(f"/proc/{child}/comm").read_text() == "spore-spare\n":
                    found.append(int(child))
            except OSError:
                continue
    return found


def test_the_worker_that_waits_is_killed(spored):
    with sandboxes.sandbox(spored, ttl_ms=120_000) as box:
        box.code("x = 1")
        for _ in range(2):
            (copy,) = box.call("Branch")["sessions"]
            assert sandboxes.Sandbox(spored, copy["id"]).value("x") == "1"
            sandboxes.Sandbox(spored, copy["id"]).kill()
            (spare,) = daemon.wait_until(lambda: spares(spored), what="one waits")
            os.kill(spare, signal.SIGKILL)
            daemon.wait_until(lambda: not os.path.exists(f"/proc/{spare}"), what="it is reaped")
        only(spored, box)


def test_the_client_goes_away(spored, big):
    """Whatever the worker is in the middle of: the source has nothing from it."""
    for delay in [0] * 6 + [0.002, 0.004, 0.006]:
        asking, _ = branch_slowly(spored, big)
        time.sleep(delay)
        asking.vanish()
        daemon.wait_until(lambda: not workers(spored), what="the worker has ended")
        for identity in set(live(spored)) - {big.id}:  # where the branch was quicker than this
            with contextlib.suppress(ttrpc.RpcError):
                sandboxes.Sandbox(spored, identity).kill()
        only(spored, big)
        assert big.value("big[-1]") == "120"


def test_the_source_is_killed(spored):
    box = sandboxes.create(spored, limits={"memory_bytes": 400 << 20})
    box.code("big = bytearray(b'x') * (200 << 20)")
    asking, _ = branch_slowly(spored, box)
    box.kill()
    try:
        for each in asking.get()["sessions"]:
            sandboxes.Sandbox(spored, each["id"]).kill()
    except ttrpc.RpcError as error:
        assert error.code in (9, 13, 14), error
    daemon.wait_until(lambda: live(spored) == [] and not workers(spored), what="nothing is left of it")


def test_a_copy_is_killed_while_it_is_made(spored, big):
    asking, _ = branch_slowly(spored, big)
    killed = next((identity for identity in live(spored) if identity != big.id), None)
    if killed:
        sandboxes.Sandbox(spored, killed).kill()
    try:
        for each in asking.get()["sessions"]:
            if each["id"] != killed:
                sandboxes.Sandbox(spored, each["id"]).kill()
    except ttrpc.RpcError as error:
        assert error.code in (9, 13, 14), error
    only(spored, big)
    assert big.value("x") == "1"


def test_a_copy_is_not_used_before_it_is_one(spored, big):
    asking, _ = branch_slowly(spored, big)
    for identity in [identity for identity in live(spored) if identity != big.id]:
        try:
            assert sandboxes.Sandbox(spored, identity).value("x") == "1"
        except ttrpc.RpcError as error:
            assert error.code in (5, 9), error
    for each in asking.get()["sessions"]:
        sandboxes.Sandbox(spored, each["id"]).kill()


def test_kill_9_of_spored_leaves_nothing():
    server = daemon.Spored()
    try:
        server.start()
        box = sandboxes.create(server, limits={"memory_bytes": 400 << 20})
        box.code("big = bytearray(b'x') * (200 << 20)")
        asking, worker = branch_slowly(server, box)
        server.stop(signal.SIGKILL)
        asking.join(60)
        daemon.wait_until(lambda: worker is None or not os.path.exists(f"/proc/{worker}"), what="the worker has ended")
        server.start()
        assert live(server) == []
    finally:
        server.stop()
        server.remove()
