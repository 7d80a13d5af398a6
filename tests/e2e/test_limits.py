"""Limits: every one is enforced by the kernel, told to the caller, and harms nobody else."""
import concurrent.futures
import os

import daemon
import pytest
import ttrpc

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def bystander(spored):
    """Another's function goes on answering, on the same instance, whatever happens here."""
    spored.deploy("bystander", {"app.py": "def handler(e, c):\n    return 'well'\n"},
                  limits={"idle_ms": 600000, "max_instances": 1})
    before = spored.invoke("bystander")
    yield
    after = spored.invoke("bystander")
    assert after["result"] == "well" and after["instance_id"] == before["instance_id"]


@pytest.fixture
def limited(spored, victim_archive, request):
    """Deploys the faults with limits; returns a caller, removes them afterwards."""
    made = []

    def deploy(isolation="ISOLATION_INSTANCE", **limits):
        name = f"limited-{len(made)}"
        spored.deploy(name, victim_archive, isolation=isolation, limits=limits)
        made.append(name)
        return lambda fault, **event: spored.invoke(name, {"victim": fault, **event})

    yield deploy
    for name in made:
        spored.remove_function(name)
    daemon.wait_until(lambda: not [i for i in spored.instances() if i["function"] in made],
                      what="the instances are gone")


def died(response, cause, kind):
    error = response["error"]
    assert error and error["type"] == kind, response
    assert error["death"]["cause"] == cause, error
    assert error["message"] and error["death"]["message"]
    return error


@pytest.mark.parametrize("fault", [{"fault": "loops"}, {"fault": "sleeps", "seconds": 60}],
                         ids=["loops", "sleeps"])
def test_deadline(limited, fault):
    fault = dict(fault)
    call = limited(timeout_ms=2000)
    error = died(call(fault.pop("fault"), **fault), "TIMEOUT", "Sandbox.Timedout")
    assert "2.00 seconds" in error["message"]
    assert call("answers", bytes=1)["result"] == "x"


def test_memory(limited):
    call = limited(memory_bytes=48 * MIB)
    error = died(call("eats_memory"), "OUT_OF_MEMORY", "Runtime.OutOfMemory")
    usage = error["death"]["usage"]
    assert usage["memory_limit_bytes"] == 48 * MIB
    assert 40 * MIB < usage["memory_peak_bytes"] <= 49 * MIB
    assert call("answers", bytes=1)["start_kind"] == "START_KIND_FORK"


def test_memory_eaten_by_a_child_is_limited(limited):
    response = limited(memory_bytes=48 * MIB)("eats_memory", in_child=True)
    if response["error"]:
        died(response, "OUT_OF_MEMORY", "Runtime.OutOfMemory")
    else:
        assert response["result"]["status"] == 9


def test_forks(limited):
    response = limited(pids=20)("forks")
    assert response["error"] is None, response
    assert 15 <= response["result"]["made"] <= 19
    assert response["result"]["error"] == "Resource temporarily unavailable"


def test_fork_bomb(spored, limited):
    call = limited(isolation="ISOLATION_INVOCATION", pids=40, timeout_ms=1500)
    died(call("forks", wild=True), "TIMEOUT", "Sandbox.Timedout")
    daemon.wait_until(lambda: len(spored.tenant_processes()) < 40, what="the bomb is gone")


def test_children_left_behind_end_with_the_invocation(spored, limited):
    call = limited(isolation="ISOLATION_INVOCATION", pids=20)
    assert call("forks", most=10)["result"]["made"] == 10
    daemon.wait_until(lambda: not spored.instances(function="limited-0"), what="it is gone")


def test_threads(limited):
    answer = limited(pids=16)("threads")["result"]
    assert answer["started"] < 16 and "thread" in answer["error"]


def test_tmp_is_bounded(limited):
    answer = limited(tmp_bytes=4 * MIB, memory_bytes=64 * MIB)("fills_tmp", inodes=True)["result"]
    total = answer["/tmp"]["written"] + answer["/dev/shm"]["written"]
    assert 2 * MIB <= total <= 9 * MIB, answer
    assert answer["/tmp"]["error"] == "No space left on device"
    assert answer["/dev/shm"]["error"] == "No space left on device"
    assert answer["inodes"]["error"] == "No space left on device"
    assert answer["inodes"]["made"] < 200_000


def test_tmp_counts_as_memory(limited):
    """What /tmp holds is charged to the sandbox: the smaller of both limits counts."""
    response = limited(tmp_bytes=512 * MIB, memory_bytes=48 * MIB)("fills_tmp")
    died(response, "OUT_OF_MEMORY", "Runtime.OutOfMemory")


@pytest.mark.parametrize("lines", [True, False], ids=["lines", "one line"])
def test_output_flood_is_cut(spored, limited, lines):
    call = limited(output_bytes=200_000, timeout_ms=600_000)
    response = spored.invoke("limited-0", {"victim": "floods_output", "bytes": 1 << 30,
                                           "lines": lines}, patience=500)
    assert response["error"] is None and response["result"]["written"] >= 1 << 30
    logged = spored.call("Logs", "Read", {"function": "limited-0"})["lines"]
    total = sum(len(line["text"]) for line in logged if line["stream"] in ("STDOUT", "STDERR"))
    assert 100_000 <= total <= 450_000
    system = [line["text"] for line in logged if line["stream"] == "SYSTEM"]
    assert any(b"cut" in text for text in system), system
    again = call("floods_output", bytes=100)
    assert again["error"] is None


def test_response_too_large(limited):
    call = limited(response_bytes=1000)
    assert call("answers", bytes=998)["result"] == "x" * 998
    error = call("answers", bytes=999)["error"]
    assert error["type"] == "Function.ResponseSizeTooLarge" and "1000" in error["message"]


def test_response_beyond_every_limit(spored, limited):
    call = limited(memory_bytes=512 * MIB, timeout_ms=60000)
    error = call("answers", bytes=80 * MIB)["error"]
    assert error["type"] == "Function.ResponseSizeTooLarge"
    assert spored.stats()["daemon_memory_bytes"] < 200 * MIB


def test_open_files(limited):
    answer = limited(open_files=64)("opens_files")["result"]
    assert answer["opened"] < 64 and answer["error"] == "Too many open files"


def test_cpu_share(limited):
    call = limited(cpu_millis=200, pids=32)
    used = call("burns_cpu", seconds=2, processes=2)["result"]["cpu_seconds"]
    assert used < 1.0, f"{used} s of CPU in 2 s at a fifth of one CPU"


def test_most_instances_of_a_function(spored, limited):
    call = limited(max_instances=2, timeout_ms=20000)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: call("sleeps", seconds=0.4), range(5)))
    assert all(answer["result"] == "awake" for answer in answers)
    assert len({answer["instance_id"] for answer in answers}) <= 2


@pytest.mark.parametrize("what", ["object", "set", "bytes", "nan", "endless", "surrogate",
                                  "complex", "key", "deep"])
def test_results_that_json_cannot_say(limited, what):
    call = limited()
    error = call("unserializable", what=what)["error"]
    assert error["type"] == "Runtime.MarshalError" and error["message"], error
    assert call("answers", bytes=1)["start_kind"] == "START_KIND_WARM"


@pytest.mark.parametrize("what,kind", [("base", None), ("peculiar", "Peculiar"),
                                       ("recursion", "RecursionError"), ("long", "ValueError"),
                                       ("plain", "ValueError")])
def test_exceptions_of_every_kind(limited, what, kind):
    call = limited()
    error = call("raises", what=what)["error"]
    assert kind is None or error["type"] == kind, error
    assert len(error["message"]) < 1 << 20 and len(error["stack_trace"]) <= 200
    assert call("answers", bytes=1)["result"] == "x"


@pytest.mark.parametrize("event,signal_or_code", [
    ({"whom": "self"}, 9), ({"whom": "self", "signal": 15}, 15), ({"whom": "self", "signal": 11}, 11),
], ids=repr)
def test_handler_that_kills_itself(limited, event, signal_or_code):
    call = limited()
    error = died(call("kills", **event), "SIGNAL", "Runtime.ExitError")
    assert error["death"]["signal"] == signal_or_code
    assert call("answers", bytes=1)["result"] == "x"


@pytest.mark.parametrize("whom", ["init", "parent", "all"])
@pytest.mark.parametrize("number", [9, 15, 19])
def test_handler_that_attacks_its_init(limited, whom, number):
    """Signals to pid 1 of one's own namespace are dropped; whatever comes of it is an answer."""
    call = limited(timeout_ms=3000)
    response = call("kills", whom=whom, signal=number, wait=0.2)
    assert response["result"] or response["error"]["type"] in ("Runtime.ExitError",
                                                               "Sandbox.Timedout")
    assert call("answers", bytes=1)["result"] == "x"


def test_exit_without_an_answer(limited):
    call = limited()
    for event in ({"code": 5}, {"code": 6, "politely": True}, {"code": 0}):
        error = died(call("exits", **event), "EXIT", "Runtime.ExitError")
        assert error["death"]["exit_code"] == event["code"]
    died(call("crashes"), "SIGNAL", "Runtime.ExitError")


def test_handler_that_closes_its_descriptors(limited):
    call = limited(timeout_ms=3000)
    error = call("closes_descriptors")["error"]
    assert error["type"] in ("Runtime.ExitError", "Sandbox.Timedout"), error
    assert call("answers", bytes=1)["result"] == "x"


@pytest.mark.parametrize("forgery", range(8))
def test_handler_that_writes_rubbish_to_its_channel(spored, limited, forgery):
    call = limited(timeout_ms=2000)
    response = call("writes_rubbish", all=False, forgery=forgery, word="rubbish")
    # An empty word, or a forged answer to nobody's request, may pass; a broken stream must not.
    assert response["error"] is None or response["error"]["death"]["cause"] in (
        "PROTOCOL", "TIMEOUT", "EXIT", "KILLED", "RESPONSE_TOO_LARGE"), response
    assert call("answers", bytes=1)["result"] == "x"


def test_forged_answer_reaches_nobody_else(spored, limited):
    call = limited(timeout_ms=2000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        forging = [pool.submit(call, "writes_rubbish", word="w") for _ in range(2)]
        others = [pool.submit(spored.result, "bystander") for _ in range(20)]
        assert {other.result() for other in others} == {"well"}
        for forger in forging:
            forger.result()


def test_client_that_vanishes_takes_its_invocation_along(spored, victim_archive):
    spored.deploy("abandoned", victim_archive, isolation="ISOLATION_INVOCATION")
    client = spored.client()
    client.send("Invocations", "Invoke",
                {"name": "abandoned", "payload": b'{"victim": "sleeps", "seconds": 25}'})
    daemon.wait_until(lambda: spored.instances(function="abandoned"), what="it runs")
    client.close()
    daemon.wait_until(lambda: not spored.instances(function="abandoned"), what="it is gone")
    dead = spored.instances(function="abandoned", include_dead=True)
    assert spored.death_of(dead[0]["id"])["cause"] == "KILLED"


def test_death_is_told_in_ps_and_inspect(spored, limited):
    call = limited(memory_bytes=48 * MIB)
    response = call("eats_memory")
    shown = spored.cli("inspect", response["instance_id"])
    assert shown.code == 0 and "memory" in shown.out.lower(), shown
    listed = spored.cli("ps", "-a")
    assert "out of memory" in listed.out.lower(), listed


def test_limits_hold_for_run_too(spored):
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    with spored.client() as client:
        response = client.call("Invocations", "Run", {
            "runtime": "python", "args": ["x.py"], "limits": {"pids": 8},
            "script": b"import os\nn = 0\ntry:\n    while True:\n        n += 1\n"
                      b"        if os.fork() == 0:\n            import time; time.sleep(9)\n"
                      b"except OSError:\n    print(n, flush=True)\n    os._exit(3)\n",
        }, [null, write, null])
    os.close(write)
    os.close(null)
    with os.fdopen(read) as output:
        assert int(output.read()) <= 8
    death = response["death"]
    assert death["cause"] in ("EXIT", "PIDS") and death["exit_code"] == 3
    assert death["usage"]["pids_limit_hits"] >= 1


def test_deploying_beyond_the_hosts_limits_is_refused(spored, victim_archive):
    with pytest.raises(ttrpc.RpcError) as caught:
        spored.deploy("greedy", victim_archive, limits={"cpu_millis": 1000 * os.cpu_count() + 1})
    assert caught.value.code == ttrpc.CODES["INVALID_ARGUMENT"]
