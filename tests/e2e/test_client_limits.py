"""What one user may take of the host: limits-per-client, told apart by the uid the kernel gives."""
import grp
import json
import os
import subprocess

import daemon
import pytest
import ttrpc

ONE, TWO = 48213, 48214
SLEEP = "import time\ndef handler(e, c):\n    time.sleep(e or 0)\n    return e\n"


def as_user(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored({
        "socket-group": grp.getgrgid(0).gr_name, "max-queue": 50, "max-queue-ms": 60000,
        "limits-per-client": {"max-instances": 2, "max-queue": 2, "max-functions": 2}})
    with server.running():
        os.chmod(server.socket, 0o666)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("code")
    (made / "app.py").write_text(SLEEP)
    for path in [made, *list(made.parents)[:2]]:
        path.chmod(0o755)
    return made


def deploy(spored, name, folder, uid):
    return spored.cli("function", "deploy", name, "--runtime", "python", "--handler", "app.handler",
                      folder, prefix=as_user(uid))


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import ttrpc
with ttrpc.Client(sys.argv[2], 60) as client:
    for _ in range(int(sys.argv[4])):
        client.send("Invocations", "Invoke", {"name": sys.argv[3], "payload": sys.argv[5].encode()})
    ended = []
    for _ in range(int(sys.argv[4])):
        try:
            ended.append([0, client.answer("InvokeResponse", client.receive()[2])["payload"].decode()])
        except ttrpc.RpcError as error:
            ended.append([error.code, error.message])
    print(json.dumps(ended))
"""


def at_once(spored, uid, name, count, seconds):
    """Codes, with results or errors, of so many invocations that one user sends together."""
    done = subprocess.run(
        [*as_user(uid), "/usr/bin/python3", "-c", PROGRAM, str(daemon.ROOT / "tests/e2e"),
         str(spored.socket), name, str(count), json.dumps(seconds)],
        capture_output=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_functions(spored, folder):
    for name in ("one-a", "one-b"):
        assert deploy(spored, name, folder, ONE).code == 0
    refused = deploy(spored, "one-c", folder, ONE)
    assert refused.code == 4, refused
    for word in (f"uid {ONE}", "2 functions", "limits-per-client.max-functions"):
        assert word in refused.err, refused
    # Not another user, not root, not an update, and not after one has gone.
    assert deploy(spored, "two-a", folder, TWO).code == 0
    for name in ("root-a", "root-b", "root-c"):
        spored.deploy(name, {"app.py": SLEEP})
    assert spored.cli("function", "update", "one-a", "--pids", "32", prefix=as_user(ONE)).code == 0
    assert spored.cli("function", "rm", "one-b", prefix=as_user(ONE)).code == 0
    assert deploy(spored, "one-c", folder, ONE).code == 0


def test_instances_and_queue(spored, folder):
    for name, uid in (("one-a", ONE), ("two-a", TWO)):  # maybe there already
        deploy(spored, name, folder, uid)
    if "root-a" not in {f["name"] for f in spored.call("Functions", "List")["functions"]}:
        spored.deploy("root-a", {"app.py": SLEEP})
    with spored.client() as client:
        streams = [client.send("Invocations", "Invoke", {"name": "root-a", "payload": b"1.5"})
                   for _ in range(5)]
        outcomes = at_once(spored, ONE, "one-a", 8, 1)
        assert len([1 for code, _ in outcomes if code == 0]) == 4, outcomes
        for code, error in outcomes:
            if code != 0:
                assert code == ttrpc.CODES["RESOURCE_EXHAUSTED"]
                assert f"uid {ONE}" in error and "limits-per-client" in error, error
        for _ in streams:  # root's: five at once, where a client may have two
            assert client.answer("InvokeResponse", client.receive()[2])["payload"] == b"1.5"
    assert len({i["id"] for i in spored.instances(function="one-a", include_dead=True)}) == 2
    assert at_once(spored, TWO, "two-a", 2, 0.1) == [[0, "0.1"], [0, "0.1"]]


def test_runs_count_for_who_runs_them(spored):
    started = []

    def start(count):
        for _ in range(count):
            started.append(subprocess.Popen(
                [*as_user(TWO), daemon.find_program("spore"), "--socket", str(spored.socket), "run",
                 "--runtime", "python", "-"], stdin=subprocess.PIPE, env=daemon.environment()))
            started[-1].stdin.write(b"import time; time.sleep(100)")
            started[-1].stdin.close()

    try:
        start(2)
        daemon.wait_until(lambda: len([i for i in spored.instances() if not i["function"]]) == 2,
                          what="both run")
        start(2)
        daemon.wait_until(lambda: spored.stats()["queued"] == 2, what="two wait")
        more = spored.cli("run", "--runtime", "python", "-", input=b"print(1)", prefix=as_user(TWO))
        assert more.code == 125 and f"uid {TWO}" in more.err, more
        assert spored.cli("run", "--runtime", "python", "-", input=b"print(1)").out == "1\n"
    finally:
        for process in started:
            process.kill()
            process.wait()
