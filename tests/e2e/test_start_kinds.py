"""What a request had to wait for: told in its answer, its trace, the function's log and the counters."""
import json
import subprocess

import daemon
import pytest
from test_checkpoints import PYTHON, SPORED_CONFIG, create, evict, warm, zygote


@pytest.fixture(scope="module")
def spored():
    with daemon.Spored(SPORED_CONFIG).running() as server:
        warm(server, "python")
        server.deploy("reused", PYTHON)
        server.deploy("fresh", PYTHON, isolation="ISOLATION_INVOCATION")
        yield server


def starts(server):
    return dict(server.stats()["starts"])


def counted(server, before):
    return {kind: count - before.get(kind, 0) for kind, count in starts(server).items()
            if count != before.get(kind, 0)}


def without_zygote(server):
    if zygote(server, "python"):
        evict(server, "python")


def test_each_kind_its_reason_and_its_count(spored):
    made = create(spored, "python")
    before = starts(spored)
    answers = {"warm": None}
    answers["fork"] = spored.invoke("reused", [1])
    answers["warm"] = spored.invoke("reused", [1])
    without_zygote(spored)
    answers["restore"] = spored.invoke("fresh", [1])
    spored.call("Checkpoints", "Remove", {"id": made["id"]})
    without_zygote(spored)
    answers["cold"] = spored.invoke("fresh", [1])
    for kind, answer in answers.items():
        assert answer["start_kind"] == "START_KIND_" + kind.upper(), answer
        assert answer["result"]["sum"] == 1
    assert "no idle instance" in answers["fork"]["start_reason"]
    assert "an idle instance" in answers["warm"]["start_reason"]
    assert f"its zygote was restored first, from checkpoint {made['id']}" in answers["restore"]["start_reason"]
    assert answers["cold"]["start_reason"].endswith("its zygote was loaded first: no checkpoint of image python") or \
        answers["cold"]["start_reason"].endswith("its zygote was loaded first")
    assert counted(spored, before) == {"warm": 1, "fork": 1, "restore": 1, "cold": 1}
    # The next finds a zygote.
    assert spored.invoke("fresh", [1])["start_kind"] == "START_KIND_FORK"
    logged = [line["text"].decode() for line in spored.call("Logs", "Read", {"function": "fresh"})["lines"]]
    reports = [line.rsplit("\t", 1)[1] for line in logged if line.startswith("REPORT")]
    assert reports == ["Start: restore", "Start: cold", "Start: fork"]


def test_a_checkpoint_that_did_not_fit_is_the_reason(spored):
    made = create(spored, "python")
    record = spored.state / "checkpoints/python" / made["id"] / "checkpoint.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "ties": {"kernel": "1.0"}}))
    without_zygote(spored)
    answer = spored.invoke("fresh", [1])
    assert answer["start_kind"] == "START_KIND_COLD"
    assert f"its zygote was loaded first: checkpoint {made['id']}: " in answer["start_reason"]
    spored.call("Checkpoints", "Remove", {"id": made["id"]})


def test_cli(spored):
    made = create(spored, "python")
    without_zygote(spored)
    done = spored.cli("invoke", "fresh", "--payload", "[1]", "--trace")
    assert done.code == 0 and "\nrestore start (" in done.err and made["id"] in done.err, done
    script = spored.directory / "a.py"
    script.write_text("print('hi')\n")
    without_zygote(spored)
    ran = spored.cli("run", "--trace", script)
    assert ran.code == 0 and ran.out == "hi\n" and ran.err.startswith("restore start (a sandbox of its own"), ran
    ran = spored.cli("run", "--trace", script)
    assert ran.err.startswith("fork start (a sandbox of its own for every run)"), ran
    program = spored.cli("run", "--trace", "--", "/bin/true")
    assert program.err.startswith("cold start (") and "a program is executed, not copied" in program.err, program
    text = spored.cli("stats").out
    line = next(line for line in text.splitlines() if line.startswith("Starts"))
    for kind in ("cold", "fork", "restore"):
        assert f" {kind}" in line, line
    spored.call("Checkpoints", "Remove", {"id": made["id"]})


def test_what_was_loaded_ahead_waited_for_nothing(spored):
    """Its zygote was started for it, but no request waited for that."""
    without_zygote(spored)
    spored.deploy("kept", PYTHON, isolation="ISOLATION_INVOCATION", min_instances=1)
    daemon.wait_until(lambda: [i for i in spored.instances(function="kept") if i["state"] == "IDLE"], what="one is kept")
    answer = spored.invoke("kept", [2])
    assert answer["start_kind"] == "START_KIND_FORK" and answer["loaded_ahead"], answer
    spored.remove_function("kept")


def test_many_who_wait_for_one_restore(spored):
    made = create(spored, "python")
    without_zygote(spored)
    before = starts(spored)
    command = [daemon.find_program("spore"), "--socket", str(spored.socket), "invoke", "fresh", "--payload", "[3]",
               "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(6)]
    kinds = [json.loads(p.communicate()[0])["start_kind"] for p in running]
    assert set(kinds) <= {"START_KIND_RESTORE", "START_KIND_FORK"} and "START_KIND_RESTORE" in kinds
    assert sum(counted(spored, before).values()) == 6
    spored.call("Checkpoints", "Remove", {"id": made["id"]})
