"""A place below /usr with an interpreter and modules of the tests' own, and an image with library sets."""
import contextlib
import os
import pathlib
import shutil

import daemon

PLACE = pathlib.Path(f"/usr/lib/spore-test-sets-{os.getpid()}")
PYTHON = PLACE / "bin/python3"
SYSTEM_PYTHON = pathlib.Path("/usr/bin/python3").resolve().name  # "python3.11"
# dear takes a tenth of a second and remembers in which process it was imported.
MODULES = {
    "dear": "import os, time\ntime.sleep(0.1)\nballast = bytearray(3 << 20)\nborn = os.getpid()\n",
    "dearer": "import dear, os, time\ntime.sleep(0.1)\nborn = os.getpid()\n",
    "other": "import os, time\ntime.sleep(0.05)\nborn = os.getpid()\n",
    "threaded": "import threading, time\nthreading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n",
    "slow": "import os, time\ntime.sleep(3)\nborn = os.getpid()\n",
}
SETS = """
[[set]]
name = "dear"
modules = ["dear"]
[[set]]
name = "dearer"
parent = "dear"
modules = ["dearer"]
[[set]]
name = "other"
modules = ["other"]
[[set]]
name = "missing"
modules = ["late"]
[[set]]
name = "threaded"
modules = ["threaded"]
[[set]]
name = "slow"
modules = ["slow"]
"""
# In a sandbox a runtime is pid 2; what was imported in a zygote, was so in another process.
HANDLER = """import %s as module
import os
def handler(event, context):
    return "set" if module.born != os.getpid() else "own"
"""


@contextlib.contextmanager
def place():
    shutil.rmtree(PLACE, ignore_errors=True)
    packages = PLACE / "lib" / SYSTEM_PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (PLACE / "pyvenv.cfg").write_text("home = /usr/bin\n")
    for name, text in MODULES.items():
        (packages / f"{name}.py").write_text(text)
    PYTHON.parent.mkdir()
    PYTHON.symlink_to("/usr/bin/python3")
    try:
        yield packages
    finally:
        shutil.rmtree(PLACE)


def serve(sets=SETS, images=(), **config):
    """A daemon with the image "sets", and others as (name, text)."""
    server = daemon.Spored(config)
    folder = server.directory / "images"
    (folder / "sets.toml").write_text(
        f'runtime = "python"\ninterpreter = "{PYTHON}"\npreload = ["json"]\n{sets}')
    for name, text in images:
        (folder / f"{name}.toml").write_text(text)
    return server.running()


def zygotes(server, image="sets"):
    return [z for z in server.cli("zygote", "ls", "--json").json() if z["image"] == image]


def of_set(server, name, image="sets"):
    """The zygote of a set that is not draining."""
    found = [z for z in zygotes(server, image) if z["set"] == name and z["state"] != "DRAINING"]
    assert len(found) <= 1, found
    return found[0] if found else None


def await_set(server, name, image="sets", state="READY"):
    return daemon.wait_until(
        lambda: (lambda z: z if z and z["state"] == state else None)(of_set(server, name, image)),
        what=f"set {name} is {state}, of {zygotes(server, image)}")


def deploy(server, module, name=None, image="sets", libraries=""):
    name = name or module
    server.deploy(name, {"app.py": HANDLER % module}, isolation="ISOLATION_INVOCATION", image=image,
                  libraries=libraries)
    return name
