"""Inside a booted Debian: installs the packages, uses, upgrades, removes and purges them.

Started by systemd once the machine is up. The packages lie in /src/packages/old and .../new. A step is a
function below, they run in the order in which they stand, and the first that fails is the last.
"""

import base64
import glob
import io
import json
import os
import pathlib
import re
import stat
import subprocess
import threading
import time
import traceback
import urllib.error
import urllib.request
import zipfile

PACKAGES = "/src/packages"
GATEWAY = "http://localhost:8080"
NAMES = ["spore", "spore-gateway", "python3-spore", "libspore-client0", "libspore-dev"]
NAMES += ["spore-criu"] if glob.glob(PACKAGES + "/old/spore-criu_*") else []
HELLO = "def handler(event, context):\n    return 'hello, ' + event['name']\n"
SLOW = """import os, time
def handler(event, context):
    if os.environ.get("QUICK"):
        return "quick"
    time.sleep(3600)
"""
# Where the package manager and the system keep books; what names us in there is looked at all the same.
BOOKS = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/", "/var/log/", "/var/lib/systemd/")
ACCOUNTS = re.compile(r"/etc/(?:(?:passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|ld\.so\.cache)$")
state = {}
steps = []


def step(function):
    steps.append(function)
    return function


def run(*args, code=0, timeout=900, input=None, **options):
    """Runs a command to its end; what it printed. `code`: what it must end with; None: whatever."""
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, input=input,
                          **options)
    said = "%s: exit %d\n%s%s" % (" ".join(map(str, args)), done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    assert code is None or done.returncode == code, said
    return done.stdout if code is not None else (done.returncode, done.stdout, done.stderr)


def spore(*args, **options):
    return run("spore", *args, **options)


def apt(action, *names):
    return run("apt-get", "-q", "-y", "--no-install-recommends", "-o", "APT::Sandbox::User=root", action, *names,
               env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def until(condition, what, seconds=300):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "not reached in %d s: %s" % (seconds, what)
        time.sleep(0.2)


def unit(name, key):
    return run("systemctl", "show", "--property=" + key, "--value", name).strip()


def hello():
    return json.loads(spore("invoke", "hello", "--payload", '{"name":"ada"}'))


def deploy(name, code, *options):
    folder = pathlib.Path("/tmp", name)
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(code)
    spore("function", "deploy", name, "--runtime", "python", "--handler", "app.handler", *options, folder)
    (folder / "app.py").unlink()
    folder.rmdir()


def lambda_call(method, path, body=None):
    request = urllib.request.Request(GATEWAY + path, method=method, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.loads(answer.read())


def files():
    found = set()
    for top in ("/etc", "/usr", "/var", "/opt", "/home", "/root", "/tmp"):
        for folder, folders, names in os.walk(top):
            found.update(os.path.join(folder, name) for name in folders + names)
    return found


def accounts():
    lines = pathlib.Path("/etc/passwd").read_text() + pathlib.Path("/etc/group").read_text()
    return {line.split(":")[0] for line in lines.splitlines()}


def traces():
    """What the kernel and systemd still know of Spore."""
    found = [path for path in glob.glob("/sys/fs/cgroup/**", recursive=True) if "spore" in path]
    found += glob.glob("/run/**/*spore*", recursive=True) + glob.glob("/dev/shm/*spore*")
    found += [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if "spore" in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = os.readlink("/proc/%s/exe" % pid)
            uid = os.stat("/proc/" + pid).st_uid
        except OSError:
            continue
        if "spore" in program or uid >= 1 << 28:
            found.append("process %s: %s, uid %d" % (pid, program, uid))
    run("systemctl", "daemon-reload")
    # One that is not found and does nothing is only a name that somebody has asked for.
    found += [line for line in run("systemctl", "list-units", "--all", "--plain", "--no-legend", "*spore*").splitlines()
              if " not-found inactive dead" not in re.sub(" +", " ", line)]
    found += run("systemctl", "list-unit-files", "--no-legend", "*spore*", code=None)[1].splitlines()
    return found


# ---- the steps ----

@step
def the_machine_is_up():
    assert os.readlink("/proc/1/exe").endswith("/systemd")
    run("useradd", "--create-home", "ada")
    run("useradd", "--create-home", "eve")
    state["files"], state["accounts"] = files(), accounts()
    assert not traces(), traces()
    release = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    return "%s, Linux %s" % (release, os.uname().release)


@step
def packages_install():
    apt("install", *glob.glob(PACKAGES + "/old/*.deb"))
    for name in ("spored.service", "spored.socket"):
        assert unit(name, "ActiveState") == "active", run("systemctl", "status", name, code=None)
        assert unit(name, "UnitFileState") == "enabled"
    # Who wants it on the network enables it.
    assert unit("spore-gateway.service", "ActiveState") == "inactive"
    assert unit("spore-gateway.service", "UnitFileState") == "disabled"
    assert run("dpkg", "--verify", *NAMES) == ""
    socket = os.stat("/run/spore/spored.sock")
    assert stat.S_IMODE(socket.st_mode) == 0o660 and socket.st_uid == 0
    assert run("getent", "group", "spore").split(":")[2] == str(socket.st_gid)
    return spore("version") if run("spore", "version", code=None)[0] == 0 else ""


@step
def what_people_look_for_is_there():
    for path in ("/usr/share/man/man1/spore.1.gz", "/usr/share/man/man8/spored.8.gz",
                 "/usr/share/man/man8/spore-gateway.8.gz", "/usr/share/bash-completion/completions/spore",
                 "/usr/share/zsh/vendor-completions/_spore", "/usr/share/fish/vendor_completions.d/spore.fish",
                 "/etc/spore/spore.toml", "/etc/spore/gateway.toml", "/usr/include/spore/client.h",
                 "/usr/include/spore/function.h", "/usr/share/doc/spore/copyright"):
        assert os.path.exists(path), path
    assert "libspore-client.so.0" in run("/sbin/ldconfig", "-p")
    said = run("systemd-analyze", "--man=no", "verify", "spored.service", "spored.socket", "spore-gateway.service", code=None)
    assert said[0] == 0 and "spore" not in said[2], said
    run("spore", "check")
    lines = [run("systemd-analyze", "security", "--no-pager", name, code=None)[1].strip().splitlines()[-1]
             for name in ("spored.service", "spore-gateway.service")]
    return "\n".join(re.sub(r"[^\x20-\x7e]+", "", line).strip() for line in lines)


@step
def functions_answer():
    deploy("hello", HELLO)
    assert hello() == "hello, ada"
    assert spore("run", "--", "/usr/bin/id", "-u").strip() != "0"
    assert "VmRSS" in spore("run", "--", "/bin/cat", "/proc/self/status")
    code, _, said = run("runuser", "-u", "eve", "--", "spore", "ps", code=None)
    assert code == 3 and "usermod -aG spore" in said, said
    run("usermod", "-aG", "spore", "ada")
    run("runuser", "-u", "ada", "--", "spore", "ps")
    done = run("python3", "-c", "import spore; print(spore.Client().invoke('hello', {'name': 'py'}))")
    assert done == "hello, py\n"


@step
def the_gateway_answers():
    run("systemctl", "enable", "--now", "spore-gateway.service")
    assert unit("spore-gateway.service", "ActiveState") == "active"
    status = pathlib.Path("/proc", unit("spore-gateway.service", "MainPID"), "status").read_text()
    assert re.search(r"^CapBnd:\s+0+$", status, re.M) and re.search(r"^Uid:\s+[1-9]", status, re.M), status
    assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", GATEWAY + "/healthz") == "200"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("app.py", HELLO)
    lambda_call("POST", "/2015-03-31/functions", {
        "FunctionName": "web", "Runtime": "python3.11", "Handler": "app.handler", "Timeout": 300, "Role": "arn:aws:iam::0:role/r",
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()}})
    assert lambda_call("POST", "/2015-03-31/functions/web/invocations", {"name": "curl"}) == "hello, curl"


@step
def a_zygote_is_kept_on_disk():
    state["checkpoint"] = spore("checkpoint", "create", "python").strip()
    assert state["checkpoint"] in spore("checkpoint", "ls")
    spore("checkpoint", "restore", "python")
    assert hello() == "hello, ada"


@step
def a_daemon_that_dies_comes_back():
    before = unit("spored.service", "MainPID")
    run("kill", "-9", before)
    until(lambda: unit("spored.service", "MainPID") not in ("0", before), "systemd has started another")
    until(lambda: unit("spored.service", "ActiveState") == "active", "it is ready")
    assert hello() == "hello, ada"


class Caller(threading.Thread):
    """Calls a function again and again, and keeps what went wrong."""

    def __init__(self):
        super().__init__()
        self.answers, self.failures, self.enough = 0, [], threading.Event()

    def run(self):
        while not self.enough.is_set():
            code, said, error = run("spore", "invoke", "hello", "--payload", '{"name":"ada"}', code=None)
            if code == 0:
                self.answers += 1
            else:
                self.failures.append(error.strip() or said)
            time.sleep(0.3)  # the processor is needed for the upgrade


@step
def an_upgrade_while_functions_run():
    deploy("slow", SLOW, "--timeout", "1h")
    event = spore("invoke", "--async", "slow").strip()
    with subprocess.Popen(["spore", "invoke", "slow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as call:
        busy = lambda: spore("ps", "--json").count('"slow"')  # noqa: E731
        until(lambda: busy() >= 2, "both calls are carried out")
        session = spore("sandbox", "create", "--ttl", "1h").strip()
        spore("function", "update", "slow", "--env", "QUICK=1")  # for the next attempt
        with open("/etc/spore/spore.toml", "a") as config:
            config.write("# changed here\n")
        before = unit("spored.service", "MainPID")
        listening = unit("spored.socket", "InactiveExitTimestampMonotonic")
        caller = Caller()
        caller.start()
        apt("install", *glob.glob(PACKAGES + "/new/*.deb"))
        until(lambda: unit("spored.service", "ActiveState") == "active", "spored is ready")
        more = caller.answers + 2
        until(lambda: caller.answers >= more or not caller.is_alive(), "it answers again")
        caller.enough.set()
        caller.join()
        _, said = call.communicate(timeout=300)
    assert run("dpkg-query", "-W", "-f", "${Version}", "spore").endswith("+next")
    assert unit("spored.service", "MainPID") != before
    # The socket was there all the time: a call waits, or was being carried out and is told what became of it.
    assert unit("spored.socket", "InactiveExitTimestampMonotonic") == listening
    assert not [failure for failure in caller.failures if "cannot reach" in failure], caller.failures
    assert call.returncode != 0 and said.strip(), (call.returncode, said)
    # What was accepted is carried out again.
    until(lambda: '"DONE"' in spore("async", "show", event, "--json"), "the event is done: " + spore("async", "show", event))
    assert hello() == "hello, ada"
    assert session not in spore("sandbox", "ls")
    assert "# changed here" in pathlib.Path("/etc/spore/spore.toml").read_text()
    assert unit("spore-gateway.service", "ActiveState") == "active"
    assert lambda_call("POST", "/2015-03-31/functions/web/invocations", {"name": "again"}) == "hello, again"
    assert state["checkpoint"] in spore("checkpoint", "ls")
    spore("checkpoint", "restore", "python")
    assert hello() == "hello, ada"
    return "a call in progress was told: %s\n%d calls answered during the upgrade, %d failed%s" % (
        said.strip().splitlines()[0], caller.answers, len(caller.failures), "".join("\n" + f for f in set(caller.failures)))


@step
def removal_ends_it_and_keeps_what_was_made():
    apt("remove", *NAMES)
    assert not traces(), "\n".join(traces())
    assert not os.path.exists("/usr/bin/spore") and not glob.glob("/usr/lib/*/spore")
    assert os.path.exists("/etc/spore/spore.toml") and os.path.exists("/var/lib/spore/functions")


@step
def who_installs_it_again_finds_his_functions():
    apt("install", *glob.glob(PACKAGES + "/new/*.deb"))
    assert unit("spored.service", "ActiveState") == "active"
    assert hello() == "hello, ada"
    assert "# changed here" in pathlib.Path("/etc/spore/spore.toml").read_text()


@step
def a_purge_leaves_nothing():
    apt("purge", *NAMES)
    assert not traces(), "\n".join(traces())
    left = sorted(path for path in files() - state["files"]
                  if "spore" in path or not path.startswith(BOOKS) and not ACCOUNTS.match(path))
    assert not left, "\n".join(left)
    gone = sorted(path for path in state["files"] - files() if not path.startswith(BOOKS))
    assert not gone, "\n".join(gone)
    # Accounts stay, as Debian's policy has it.
    assert accounts() - state["accounts"] <= {"spore", "spore-gateway"}, accounts() - state["accounts"]


def main():
    os.environ.update({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                       "PYTHONDONTWRITEBYTECODE": "1"})
    with open("/dev/ttyS1", "w") as port:
        subprocess.run(["stty", "-F", "/dev/ttyS1", "raw"], check=True)

        def tell(**values):
            port.write(json.dumps(values) + "\n")
            port.flush()

        for function in steps:
            begun, passed, text = time.monotonic(), True, ""
            try:
                text = function() or ""
            except BaseException:
                passed = False
                journal = run("journalctl", "--no-pager", "-q", "-n", "60", "-u", "spored", "-u", "spore-gateway", code=None)[1]
                text = traceback.format_exc()[-6000:] + "\n--- journal\n" + journal[-6000:]
            tell(name=function.__name__, passed=passed, seconds=time.monotonic() - begun, text=text)
            if not passed:
                break
        tell(finished=True)


if __name__ == "__main__":
    main()
