"""Functions in C that do what they must not: limits hold, the caller is told, nobody else is harmed."""
import daemon
import natives
import pytest

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def bystander(spored):
    """Another's function goes on answering, on the same instance, whatever happens here."""
    spored.deploy("bystander", {"a.so": natives.library("faults.c")}, runtime="native",
                  handler="a.so:answers", limits={"idle_ms": 600000, "max_instances": 1})
    before = spored.invoke("bystander")
    yield
    after = spored.invoke("bystander")
    assert after["result"] == "well" and after["instance_id"] == before["instance_id"]


@pytest.fixture
def fault(spored):
    """Calls one handler of faults.c under limits, in a fresh sandbox."""
    made = []

    def call(symbol, **limits):
        spored.deploy("fault", {"a.so": natives.library("faults.c")}, runtime="native",
                      handler=f"a.so:{symbol}", isolation="ISOLATION_INVOCATION", limits=limits)
        made.append("fault")
        return spored.invoke("fault")

    yield call
    for name in made:
        spored.remove_function(name)
    daemon.wait_until(lambda: not spored.instances(function="fault"), what="the instance is gone")


def died(response, cause, kind):
    error = response["error"]
    assert error and error["type"] == kind, response
    assert error["death"]["cause"] == cause, error
    return error


def test_deadline(fault):
    error = died(fault("loops", timeout_ms=400), "TIMEOUT", "Sandbox.Timedout")
    assert "0.40 seconds" in error["message"]


def test_memory(fault):
    error = died(fault("eats_memory", memory_bytes=48 * MIB), "OUT_OF_MEMORY", "Runtime.OutOfMemory")
    assert 40 * MIB < error["death"]["usage"]["memory_peak_bytes"] <= 49 * MIB


def test_forks(fault):
    answer = fault("forks", pids=20)["result"]
    assert 15 <= answer["made"] <= 19 and answer["error"] == "EAGAIN"


def test_fork_bomb(spored, fault):
    died(fault("forks_wildly", pids=40, timeout_ms=1500), "TIMEOUT", "Sandbox.Timedout")
    daemon.wait_until(lambda: len(spored.tenant_processes()) < 40, what="the bomb is gone")


def test_open_files(fault):
    answer = fault("opens_files", open_files=64)["result"]
    assert 50 <= answer["made"] <= 62 and answer["error"] == "EMFILE"


def test_tmp(fault):
    answer = fault("fills_tmp", tmp_bytes=4 * MIB)["result"]
    assert 3 * MIB <= answer["made"] <= 4 * MIB and answer["error"] == "ENOSPC"


@pytest.mark.parametrize("symbol,cause,words", [
    ("exits", "EXIT", "exit status 7"),
    ("crashes", "SIGNAL", "SIGSEGV"),
    ("aborts", "SIGNAL", "SIGABRT"),
    ("overruns_its_stack", "SIGNAL", "SIGSEGV"),
    ("ends_its_thread", "EXIT", "without providing a reason"),
])
def test_end_of_the_process_is_told(fault, symbol, cause, words):
    error = died(fault(symbol), cause, "Runtime.ExitError")
    assert words in error["message"], error


@pytest.mark.parametrize("symbol", ["closes_its_channel", "writes_to_its_channel", "forges_an_answer"])
def test_channel_that_is_misused(fault, symbol):
    error = fault(symbol)["error"]
    assert error["death"]["cause"] == "PROTOCOL", error


def test_response_that_is_ruined_harms_nobody(fault):
    assert fault("ruins_its_response")["error"] is None


def test_output_flood_is_cut(spored, fault):
    assert fault("floods_its_output", output_bytes=65536)["error"] is None
    lines = spored.call("Logs", "Read", {"function": "fault"})["lines"]
    assert sum(len(line["text"]) for line in lines) < 200_000


def test_child_left_behind_ends_with_the_invocation(spored, fault):
    assert fault("leaves_a_child")["result"]["made"] == 1
    daemon.wait_until(lambda: not spored.instances(function="fault"), what="it is gone")
