"""Images with a root of their own: imported, versioned, pinned, verified, removed."""
import pathlib
import shutil

import daemon
import images_of_own as own
import pytest
import ttrpc

# Looks round in its root.
APP = """
import os, sys
def handler(event, context):
    import json
    return {"root": sorted(os.listdir("/")), "usr": sorted(os.listdir("/usr")), "bin": sorted(os.listdir("/usr/bin")),
            "mark": open("/opt/mark").read() if os.path.exists("/opt/mark") else "",
            "mounts": [line.split()[4] for line in open("/proc/self/mountinfo")],
            "writable": [p for p in ("/", "/usr", "/etc", "/run", "/var", "/opt", "/dev") if os.access(p, os.W_OK)],
            "uid": os.getuid(), "python": sys.executable, "dev": sorted(os.listdir("/dev")),
            "environment": os.environ.get("COLOUR"), "hosts": open("/etc/hosts").read()}
"""


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    shutil.copy(daemon.ROOT / "images/python.toml", server.directory / "images")
    with server.running():
        yield server


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with Python in it; its mark says which version of it is looked at."""
    root = own.python_root(tmp_path_factory.mktemp("root"))
    (root / "opt").mkdir()
    (root / "opt/mark").write_text("one")
    return root


def import_image(spored, name, path, *arguments):
    done = spored.cli("image", "import", name, "--runtime", "python", "--root", path, *arguments, timeout=300)
    assert done.code == 0, done
    return done


def test_a_directory_becomes_an_image_and_runs_a_function(spored, root):
    done = import_image(spored, "small", root)
    assert done.out.startswith("imported small@1: sha256:"), done
    spored.deploy("look", {"app.py": APP}, image="small", limits={"memory_bytes": 256 << 20})
    seen = spored.result("look")
    assert seen["mark"] == "one" and seen["python"] == "/usr/bin/python3"
    assert seen["usr"] == ["bin", "lib"], "of the host's /usr nothing is there"
    assert seen["bin"] == sorted(path.name for path in (root / "usr/bin").iterdir())
    assert not set(seen["root"]) & {"home", "boot", "root", "srv", "media", "mnt", "work"}
    assert seen["writable"] == [] and seen["uid"] >= 1000
    assert seen["dev"] == ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"]
    assert set(seen["mounts"]) == {"/", "/dev", "/dev/shm", "/proc", "/run/spore/host", "/tmp", "/var/task"}
    assert "localhost" in seen["hosts"]
    done = spored.cli("run", "--runtime", "python", "--image", "small", "/dev/stdin", input=b"print(open('/opt/mark').read())")
    assert done.code == 0 and done.out == "one\n", done
