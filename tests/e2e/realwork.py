"""Runs others' tests in a sandbox, and outside of one to compare."""
import json
import os
import shutil
import subprocess
import tempfile

import daemon

SOURCES = daemon.ROOT / "tests/realwork"
LIMITS = ["--memory", "768M", "--pids", "256", "--tmp", "256M", "--cpus", "2", "--timeout", "14m"]
UID = 48214


def told(done, what):
    """The outcomes, which the scripts print as JSON: {name of a test: "ok" or what else}."""
    assert done.out.startswith("{"), f"{what}: {done}"
    return json.loads(done.out)


def run_inside(spored, script, *args, input=b"", runtime="python"):
    return spored.cli("run", *LIMITS, "--runtime", runtime, SOURCES / script, *args, input=input,
                      timeout=900)


def run_outside(interpreter, script, *args, input=b""):
    """As near to a sandbox as an ordinary user comes: no privilege, no terminal, a bare environment."""
    place = tempfile.mkdtemp(prefix="spore-outside-")
    try:
        shutil.copy(SOURCES / script, place)
        os.chown(place, UID, UID)
        done = subprocess.run(
            ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", "-i", "-C", place,
             "PATH=/usr/bin:/bin", "LANG=C.UTF-8", f"HOME={place}", f"TMPDIR={place}", *interpreter,
             f"{place}/{script}", *args],
            input=input, capture_output=True, timeout=900)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return daemon.Completed(done)


def inside(spored, script, *args):
    return told(run_inside(spored, script, *args), f"{args} inside")


def outside(interpreter, script, *args):
    return told(run_outside(interpreter, script, *args), f"{args} outside")
