"""A place below /usr with an interpreter and modules of the tests' own, and images with library sets."""
import contextlib
import os
import pathlib
import shutil
import types

import daemon

PLACE = pathlib.Path(f"/usr/lib/spore-test-sets-{os.getpid()}")
SYSTEM_PYTHON = pathlib.Path("/usr/bin/python3").resolve().name  # "python3.11"

# What differs between the runtimes that have sets. dear takes a tenth of a second and remembers in which process it
# was loaded: in a sandbox a runtime is pid 2, and what a zygote has loaded another process has. unfit cannot be in a zygote.
PYTHON = types.SimpleNamespace(
    name="python",
    image=f'runtime = "python"\ninterpreter = "{PLACE}/bin/python3"\npreload = ["json"]\n',
    folder=PLACE / "lib" / SYSTEM_PYTHON / "site-packages",
    modules={
        "dear.py": "import os, time\ntime.sleep(0.1)\nballast = bytearray(3 << 20)\nborn = os.getpid()\n",
        "dearer.py": "import dear, os, time\ntime.sleep(0.1)\nborn = os.getpid()\n",
        "other.py": "import os, time\ntime.sleep(0.05)\nborn = os.getpid()\n",
        "unfit.py": "import threading, time\nthreading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n",
        "slow.py": "import os, time\ntime.sleep(3)\nborn = os.getpid()\n",
    },
    late=("late.py", ""),
    handler="""import %s as module
import os
def handler(event, context):
    return "set" if module.born != os.getpid() else "own"
""",
    is_loaded="import sys\ndef handler(e, c):\n    return 'dear' in sys.modules\n",
    files=lambda code: {"app.py": code},
    deploy=("app.handler", {}),
    absent="preload late: ModuleNotFoundError: No module named 'late'",
    unfit="Python threads",
)
NODE = types.SimpleNamespace(
    name="node",
    image=f'runtime = "node"\n[environment]\nNODE_PATH = "{PLACE}/modules"\n',
    folder=PLACE / "modules",
    modules={
        "wait.js": "exports.wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);"
                   "exports.self = () => require('fs').readlinkSync('/proc/self');\n",
        "dear/index.js": "const { wait, self } = require('wait'); wait(100);"
                         "exports.ballast = Buffer.alloc(3 << 20, 'x'); exports.born = self();\n",
        "dearer/package.json": '{"exports": {"import": "./it.mjs", "require": "./it.cjs"}}',
        "dearer/it.cjs": "const { wait, self } = require('wait'); require('dear'); wait(100); exports.born = self();\n",
        "dearer/it.mjs": "throw new Error('nobody imports it');\n",
        "other.js": "const { wait, self } = require('wait'); wait(50); exports.born = self();\n",
        "unfit.js": "require('net').createServer().listen('\\0unfit');\n",
        "slow.js": "const { wait, self } = require('wait'); wait(3000); exports.born = self();\n",
    },
    late=("late.js", ""),
    handler="""const module_ = require('%s');
const self = require('fs').readlinkSync('/proc/self');
exports.handler = async () => module_.born !== self ? 'set' : 'own';
""",
    is_loaded="exports.handler = async () => Object.keys(require.cache).some((file) => file.includes('dear'));\n",
    files=lambda code: {"index.js": code},
    deploy=("index.handler", {"runtime": "node"}),
    absent="preload late: Error: Cannot find module 'late'",
    unfit="socket",
)
KITS = {"python": PYTHON, "node": NODE}
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
name = "unfit"
modules = ["unfit"]
[[set]]
name = "slow"
modules = ["slow"]
"""


@contextlib.contextmanager
def place():
    shutil.rmtree(PLACE, ignore_errors=True)
    for kit in KITS.values():
        for name, text in kit.modules.items():
            (kit.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (kit.folder / name).write_text(text)
    (PLACE / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (PLACE / "bin").mkdir()
    (PLACE / "bin/python3").symlink_to("/usr/bin/python3")
    try:
        yield
    finally:
        shutil.rmtree(PLACE)


def serve(sets=SETS, images=(), kit=PYTHON, **config):
    """A daemon with the image "sets" of `kit`, and others as (name, text)."""
    server = daemon.Spored(config)
    server.kit = kit
    folder = server.directory / "images"
    (folder / "sets.toml").write_text(kit.image + sets)
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


def deploy(server, module, name=None, image="sets", libraries="", code=None, **settings):
    """A function that says whether the module is its own or its set's; or one of `code`."""
    name, kit = name or module, server.kit
    handler, more = kit.deploy
    server.deploy(name, kit.files(code or kit.handler % module), handler, "ISOLATION_INVOCATION", image=image,
                  libraries=libraries, **more, **settings)
    return name


@contextlib.contextmanager
def serve_from_dearer(kit=PYTHON):
    """One on which whatever is deployed as it always is comes from that set's zygote."""
    with place(), serve(kit=kit) as server:
        assert server.cli("zygote", "warm", "sets/dearer").code == 0
        as_ever = server.deploy
        server.deploy = lambda name, files, *args, **settings: as_ever(
            name, files, *args, **{"image": "sets", "libraries": "dearer", **settings})
        yield server
        assert "dearer" in {z["set"] for z in zygotes(server) if z["state"] == "READY"}
