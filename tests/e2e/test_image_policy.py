"""What an image's policy denies its sandboxes: from inside, at the start of a zygote, and in words."""
import subprocess

import daemon
import pytest
from test_zygote_tree import manifests, start_of

DENY = '["exec", "fork", "sockets", "symlink", "symlinkat"]'
NUMBERS = {"execve": 59, "execveat": 322, "fork": 57, "vfork": 58, "socket": 41, "socketpair": 53, "connect": 42, "bind": 49,
           "listen": 50, "accept": 43, "accept4": 288, "symlink": 88, "symlinkat": 266, "rename": 82, "getppid": 110,
           "eventfd2": 290}
ATTEMPT = """import ctypes, os, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    return "done" if libc.syscall(*arguments) >= 0 else os.strerror(ctypes.get_errno())
def handler(event, context):
    found = {name: call(number, 0, 0, 0, 0, 0) for name, number in event.items()}
    found["clone"] = call(56, 17, 0, 0, 0, 0)
    made = []
    thread = threading.Thread(target=lambda: made.append(1))
    thread.start(); thread.join()
    try:
        os.posix_spawn("/bin/true", ["true"], {})
        found["spawn"] = "done"
    except OSError as error:
        found["spawn"] = error.strerror
    return {**found, "thread": made}
"""
NODE = """const { spawnSync } = require('child_process');
exports.handler = async () => [spawnSync('/bin/true').error?.code, require('net').createServer().constructor.name];
"""
IMAGES = {
    "tight": f'runtime = "python"\n[policy]\ndeny = {DENY}\n[[set]]\nname = "csv"\nmodules = ["csv"]\n',
    "tight-node": f'runtime = "node"\n[policy]\ndeny = {DENY}\n[[set]]\nname = "url"\nmodules = ["url"]\n',
    "tight-native": f'runtime = "native"\n[policy]\ndeny = {DENY}\n',
    # Node's event loop is epoll.
    "broken-node": 'runtime = "node"\n[policy]\ndeny = ["epoll_wait", "epoll_pwait", "epoll_ctl", "getrandom"]\n',
}


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    for name, text in IMAGES.items():
        (server.directory / f"images/{name}.toml").write_text(text)
    with server.running():
        yield server


def check(found):
    for name in ("execve", "execveat", "fork", "vfork", "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
                 "symlink", "symlinkat", "clone", "spawn"):
        assert found.pop(name) == "Operation not permitted", name
    assert found.pop("thread") == [1] and found.pop("getppid") == found.pop("eventfd2") == "done"
    assert found.pop("rename") == "Bad address" and not found


@pytest.mark.parametrize("libraries", ["none", "csv"])
def test_what_is_denied_is_refused_and_nothing_else(spored, libraries):
    if libraries != "none":
        assert spored.cli("zygote", "warm", f"tight/{libraries}").code == 0
    spored.deploy(f"attempts-{libraries}", {"app.py": ATTEMPT}, "app.handler", "ISOLATION_INVOCATION", image="tight",
                  libraries=libraries)
    result, start = start_of(spored.invoke(f"attempts-{libraries}", NUMBERS))
    assert start == ("" if libraries == "none" else libraries)
    check(result)


def test_other_images_are_as_ever(spored):
    spored.deploy("free", {"app.py": ATTEMPT}, "app.handler", "ISOLATION_INVOCATION")
    found = spored.result("free", {"getppid": 110})
    assert found["spawn"] == found["clone"] == "done"


@pytest.mark.parametrize("libraries", ["none", "url"])
def test_node(spored, libraries):
    if libraries != "none":
        assert spored.cli("zygote", "warm", f"tight-node/{libraries}").code == 0
    spored.deploy(f"node-{libraries}", {"index.js": NODE}, "index.handler", "ISOLATION_INVOCATION", image="tight-node",
                  runtime="node", libraries=libraries)
    assert spored.result(f"node-{libraries}") == ["EPERM", "Server"]


def test_programs_and_scripts(spored):
    done = spored.cli("run", "--image", "tight-native", "--", "/bin/true")
    assert done.code != 0 and "denies exec" in done.err, done
    assert spored.cli("run", "--", "/bin/true").code == 0
    script = spored.directory / "script.py"
    script.write_text("import os\ntry: os.fork()\nexcept PermissionError: print('no')\n")
    done = spored.cli("run", "--runtime", "python", "--image", "tight", script)
    assert done.code == 0 and done.out == "no\n", done


def test_what_the_runtime_needs_is_told_when_its_zygote_starts(spored):
    """Python bears the loss of all that may be denied; Node does not."""
    done = spored.cli("zygote", "warm", "broken-node")
    assert done.code == 4 and "policy denies system calls" in done.err, (done, spored.log_text())
    daemon.wait_until(lambda: "policy denies system calls" in spored.cli("image", "ls").out,
                      what="and so does the list, between two tries")


def test_it_is_shown(spored):
    assert spored.cli("image", "show", "tight", "--json").json()["policy"]["deny"] == [
        "exec", "fork", "sockets", "symlink", "symlinkat"]
    assert "exec fork sockets symlink symlinkat" in spored.cli("image", "show", "tight").out
    assert "Denied" not in spored.cli("image", "show", "python").out


@pytest.mark.parametrize("text, complaint", [
    ("[policy]\ndeny = [\"exce\"]", "policy.deny: \"exce\" is no system call that tenants may make, and no group; groups are exec,"),
    ("[policy]\ndeny = [\"read\"]", "\"read\" cannot be denied"), ("[policy]\ndeny = [\"ptrace\"]", "need not be denied"),
    ("[policy]\ndeny = \"exec\"", "policy.deny"), ("[policy]\nallow = [\"bpf\"]", "unknown key"), ("policy = 3", "policy"),
    ("[policy]\ndeny = [" + ", ".join(['"exec"'] * 400) + "]", "too long"),
])
def test_wrong_policies_are_refused(tmp_path, text, complaint):
    config = manifests(tmp_path, 'runtime = "python"\n' + text)
    done = subprocess.run([daemon.find_program("spored"), "--config", str(config)], capture_output=True, timeout=60,
                          env=daemon.environment())
    assert done.returncode != 0 and complaint in done.stderr.decode(), done
