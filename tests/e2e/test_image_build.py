"""`spore image build`: a root made of Debian packages, from wherever this host's apt has them."""
import daemon
import pytest

APP = """
import glob, os, sqlite3, ssl
def handler(event, context):
    lines = dict(line.rstrip().split("=", 1) for line in open("/usr/lib/os-release") if "=" in line)
    return [lines.get("ID"), os.path.exists("/bin/sh"), glob.glob("/var/lib/apt/lists/*_*"), glob.glob("/etc/*hostname")]
"""


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    with server.running():
        yield server


def test_python_on_debian(spored, tmp_path):
    name = "whole"
    (tmp_path / "m.toml").write_text('runtime = "python"\nroot = "debian"\npackages = ["python3-markupsafe"]\n'
                                     'preload = ["json", "markupsafe"]\n')
    done = spored.cli("image", "build", name, "--manifest", tmp_path / "m.toml", "--packages", "base-files",
                      timeout=1200)
    assert done.code == 0 and f"imported {name}@1: sha256:" in done.out, done
    image = spored.cli("image", "show", name, "--json").json()
    assert image["source"].startswith("Debian ") and image["source"].endswith("python3,python3-markupsafe,base-files")
    assert spored.cli("image", "verify", name).code == 0
    spored.deploy(name, {"app.py": APP}, image=name, limits={"memory_bytes": 256 << 20})
    system, shell, lists, hostname = spored.result(name)
    assert system == "debian" and shell and lists == hostname == []


def test_node_on_debian(spored):
    done = spored.cli("image", "build", "node-debian", "--runtime", "node", "--minimal", timeout=1200)
    assert done.code == 0, done
    spored.deploy("node", {"index.js": "exports.handler = async () => [process.version, require('fs').readdirSync('/usr/bin')]"},
                  "index.handler", runtime="node", image="node-debian", limits={"memory_bytes": 256 << 20})
    version, programs = spored.result("node")
    assert version.startswith("v") and "node" in programs and "python3" not in programs


@pytest.mark.parametrize("arguments, code, text", [
    (["--runtime", "perl"], 2, "'perl' is not one of java, native, node, python"),
    (["--runtime", "python", "--packages", "a b"], 2, "is no package's name"),
    (["--runtime", "python", "--packages", "--hook=x"], 2, "is no package's name"),
    (["--runtime", "python", "--suite", "../x"], 2, "is no suite's name"),
    (["--runtime", "python", "--packages", "no-such-package-there-is", "--minimal"], 4, "it has said why above"),
    (["--runtime", "python", "--sources", "/nowhere", "--minimal"], 4, "it has said why above"),
])
def test_bad_arguments(spored, arguments, code, text):
    done = spored.cli("image", "build", "bad", *arguments, timeout=1200)
    assert done.code == code and text in done.err, done
    assert "bad@1" not in spored.cli("image", "ls", "-q").out.split()


def test_the_programs_absence_is_told(spored, tmp_path):
    done = spored.cli("image", "build", "bad", "--runtime", "python", env={**daemon.environment(), "PATH": str(tmp_path)})
    assert done.code == 4 and "mmdebstrap is not installed" in done.err, done


def test_nothing_stays_in_the_scratch_folder(spored, tmp_path):
    done = spored.cli("image", "build", "left", "--runtime", "native", "--minimal", timeout=1200,
                      env={**daemon.environment(), "TMPDIR": str(tmp_path)})
    assert done.code == 0 and not list(tmp_path.iterdir()), done
    done = spored.cli("run", "--runtime", "native", "--image", "left", "/usr/bin/true")
    assert done.code in (0, 126, 127), done
