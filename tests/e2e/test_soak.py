"""Thousands of sandboxes of each runtime, one after another: none fails or hangs, and nothing grows.

SPORE_SOAK_COUNT says how many of each: ten thousand, when the figures of docs/benchmarks.md are made.
The suite makes fewer.
SPORE_SOAK_REPORT names a file to which the figures are appended.
"""
import json
import os
import pathlib
import time

import daemon
import java
import natives
import pytest

COUNT = int(os.environ.get("SPORE_SOAK_COUNT", 0))
FEW = {"python": 100, "node": 100, "native": 100, "java": 30}
# What a process may grow by in all that follows: allocators' noise, not a leak for each sandbox.
ROOM_KIB = 2048


def python(_):
    return {"files": {"app.py": "def handler(event, context):\n    return event\n"}}


def node(_):
    return {"files": {"index.js": "exports.handler = async (event) => event;"},
            "handler": "index.handler"}


def native(_):
    return {"files": {"libhandlers.so": natives.library("handlers.c")}, "handler": "libhandlers.so:echo"}


def java_handler(folder):
    classes = folder / "classes"
    classes.mkdir()
    java.compile_into(classes, {"Echo.java": "public class Echo {\n"
                                             "  public Object handle(Object event) { return event; }\n}\n"})
    return {"files": daemon.make_zip(classes), "handler": "Echo::handle"}


FUNCTIONS = {"python": python, "node": node, "native": native, "java": java_handler}


def mounts(pid):
    return len(pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


def process(pid):
    """What a process holds, by name."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"threads": int(status["Threads"]), "files": len(os.listdir(f"/proc/{pid}/fd")),
            "mappings": len(pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()),
            "mounts": mounts(pid), "KiB": int(status["VmRSS"].split()[0])}


def holdings(spored, runtime):
    """What the daemon and the zygote hold, and what there is of the daemon's on the host."""
    image = next(one for one in spored.call("System", "Info")["images"] if one["name"] == runtime)
    cgroups = sum(1 for top in daemon.cgroups_named(spored.cgroup) for _ in os.walk(top))
    found = {"cgroups": cgroups, "processes": len(spored.tenant_processes()), "mounts": mounts("self"),
             "live": spored.stats()["instances_live"]}
    for who, pid in (("daemon", spored.process.pid), ("zygote", image["zygote_pid"])):
        found.update({f"{who} {name}": value for name, value in process(pid).items()})
    return found, image


def at_rest(spored, runtime):
    """Its holdings once nothing of them has changed for a second: the last one's end, and the next ones made ahead."""
    found, since = None, 0.0

    def stands():
        nonlocal found, since
        look = holdings(spored, runtime)
        if found is None or any(look[0][name] != found[0][name] for name in ("cgroups", "processes", "live")):
            since = time.monotonic()
        found = look
        return time.monotonic() - since > 1

    daemon.wait_until(stands, what="it is at rest")
    return found


def grown(before, after):
    """What grew, in words. Mappings of an allocator come and go by a few."""
    room = {"KiB": ROOM_KIB, "mappings": 16}
    return [f"{name}: {before[name]} -> {after[name]}" for name in before
            if after[name] > before[name] + room.get(name.split()[-1], 0)]


def invoke_in_a_row(client, name, count):
    for number in range(count):
        response = client.call("Invocations", "Invoke", {"name": name, "payload": json.dumps(number).encode()})
        assert response["error"] is None, (number, response)
        assert json.loads(response["payload"]) == number
        assert response["start_kind"] == "START_KIND_FORK", (number, response)


def report(title, before, after):
    if "SPORE_SOAK_REPORT" in os.environ:
        with open(os.environ["SPORE_SOAK_REPORT"], "a") as out:
            print(time.strftime("%F %H:%M UTC", time.gmtime()), title, file=out)
            for name, value in before.items():
                print(f"  {name:18} {value:8} {after[name]:8}", file=out)


@pytest.mark.parametrize("runtime", FUNCTIONS)
def test_thousands_in_a_row(spored, tmp_path, runtime):
    function = FUNCTIONS[runtime](tmp_path)
    name = f"soak-{runtime}"
    spored.deploy(name, isolation="ISOLATION_INVOCATION", runtime=runtime, **function)
    count = COUNT or FEW[runtime]
    spored.invoke(name, 0)  # the first may wait for the zygote
    with spored.client() as client:
        # What the daemon keeps of the past (logs, ended instances), and the children made ahead, reach
        # their size before the first look: with few to come it must not be waited for.
        invoke_in_a_row(client, name, max(FEW[runtime], min(count // 2, 4000)))
        before, image = at_rest(spored, runtime)
        began = time.monotonic()
        invoke_in_a_row(client, name, count)
        seconds = time.monotonic() - began
    spored.last_holdings = None

    def nothing_grew():
        after, same = holdings(spored, runtime)
        assert same["zygote_pid"] == image["zygote_pid"], "the zygote was replaced"
        assert same["forks"] >= image["forks"] + count
        spored.last_holdings = after
        return not grown(before, after)

    try:
        daemon.wait_until(nothing_grew, what="as much as before")
    except AssertionError:
        raise AssertionError(f"after {count}, grown: {grown(before, spored.last_holdings)}") from None
    finally:
        report(f"{runtime}: {count} in {seconds:.0f} s", before, spored.last_holdings)
        spored.remove_function(name)
