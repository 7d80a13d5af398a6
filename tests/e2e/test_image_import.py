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
    assert set(seen["mounts"]) == {"/", "/dev", "/dev/shm", "/proc", "/run/spore", "/run/spore/host", "/tmp",
                                   "/var/task"}
    assert "localhost" in seen["hosts"]
    done = spored.cli("run", "--runtime", "python", "--image", "small", "/dev/stdin", input=b"print(open('/opt/mark').read())")
    assert done.code == 0 and done.out == "one\n", done


def test_show_and_list(spored, root):
    image = spored.cli("image", "show", "small", "--json").json()
    assert image["name"] == "small@1" and int(image["version"]) == 1 and image["runtime"] == "python"
    assert image["source"] == str(root) and image["root"].startswith("sha256:") and int(image["root_files"]) > 100
    assert spored.cli("image", "show", "small@1", "--json").json() == image
    text = spored.cli("image", "show", "small").out
    for part in (image["digest"], image["root"], str(root), "small@1", "Imported:"):
        assert part in text, (part, text)
    assert "small@1" in spored.cli("image", "ls", "-q").out.split()
    assert "the host's /usr" in spored.cli("image", "show", "python").out


def test_versions_and_pinning(spored, root):
    import_image(spored, "pinned", root)
    for isolation in ("ISOLATION_INSTANCE", "ISOLATION_INVOCATION"):
        spored.deploy("pin-" + isolation[10:13], {"app.py": APP}, image="pinned", isolation=isolation)
    again = import_image(spored, "pinned", root)
    assert again.out.startswith("unchanged pinned@1: "), again
    (root / "opt/mark").write_text("two")
    assert import_image(spored, "pinned", root, "-q").out == "pinned@2\n"
    spored.deploy("pin-new", {"app.py": APP}, image="pinned")
    spored.deploy("pin-old", {"app.py": APP}, image="pinned@1")
    assert [spored.result(name)["mark"] for name in ("pin-INS", "pin-INV", "pin-new", "pin-old")] == \
        ["one", "one", "two", "one"]
    shown = spored.cli("function", "show", "pin-INS", "--json").json()
    assert shown["settings"]["image"] == "pinned@1"
    assert shown["image_digest"] == spored.cli("image", "show", "pinned@1", "--json").json()["digest"]
    # New code or settings do not move it; only --image does, and then nothing stale answers.
    assert spored.cli("function", "update", "pin-INS", "--memory", "200M").code == 0
    assert spored.result("pin-INS")["mark"] == "one"
    for name in ("pin-INS", "pin-INV"):
        assert spored.cli("function", "update", name, "--image", "pinned").code == 0
        assert {spored.result(name)["mark"] for _ in range(5)} == {"two"}
    done = spored.cli("run", "--runtime", "python", "--image", "pinned@1", "/dev/stdin",
                      input=b"print(open('/opt/mark').read())")
    assert done.out == "one\n", done


def test_rm_names_who_uses_it(spored, root):
    (root / "opt/mark").write_text("three")
    import_image(spored, "used", root)
    spored.deploy("user", {"app.py": APP}, image="used")
    done = spored.cli("image", "rm", "used")
    assert done.code == 4 and "image used@1 is used by 1 functions: user" in done.err, done
    spored.result("user")
    done = spored.cli("image", "rm", "--force", "used@1")
    assert done.code == 0 and done.out == "used@1\n", done
    with pytest.raises(ttrpc.RpcError, match="used@1, which is there no more.*--image IMAGE"):
        spored.invoke("user")
    assert spored.cli("image", "show", "used").code == 4
    assert not list((spored.state / "images/names").glob("used*"))
    # The same name and number again is another image: the function does not slip into it.
    (root / "opt/mark").write_text("four")
    import_image(spored, "used", root)
    with pytest.raises(ttrpc.RpcError, match="used@1, which is another one now"):
        spored.invoke("user")
    assert spored.cli("function", "update", "user", "--image", "used").code == 0
    assert spored.result("user")["mark"] == "four"
    spored.remove_function("user")
    daemon.wait_until(lambda: not spored.instances(function="user"), what="its instance has ended")
    assert spored.cli("image", "rm", "used").code == 0


def test_rm_refuses_while_an_instance_lives(spored, root):
    import_image(spored, "live", root)
    process = daemon.subprocess.Popen(
        [daemon.find_program("spore"), "--socket", str(spored.socket), "run", "--runtime", "python", "--image", "live",
         "/dev/stdin"], stdin=daemon.subprocess.PIPE, stdout=daemon.subprocess.PIPE)
    process.stdin.write(b"print('here', flush=True)\nimport time; time.sleep(100)\n")
    process.stdin.close()
    assert process.stdout.readline() == b"here\n"
    done = spored.cli("image", "rm", "live")
    assert done.code == 4 and "1 instances of it are live: " in done.err, done
    assert spored.cli("image", "rm", "--force", "live").code == 0
    assert process.wait(60) != 0
    process.stdout.close()
    assert "live@1" not in spored.cli("zygote", "ls").out


def test_only_roots_that_are_used_stay(spored, root):
    (root / "opt/mark").write_text("shared")
    import_image(spored, "shared-a", root)
    before = {path.name for path in (spored.state / "images/roots").iterdir()}
    import_image(spored, "shared-b", root)
    assert {path.name for path in (spored.state / "images/roots").iterdir()} == before
    assert spored.cli("image", "rm", "shared-a").code == 0
    assert spored.cli("image", "verify", "shared-b").code == 0
    assert spored.cli("image", "rm", "shared-b").code == 0
    assert len(list((spored.state / "images/roots").iterdir())) == len(before) - 1
    assert not list((spored.state / "images/staging").iterdir())


def test_verify_tells_what_was_altered(spored, root):
    import_image(spored, "checked", root)
    done = spored.cli("image", "verify", "checked")
    assert done.code == 0 and done.out.startswith("checked@1: as it was imported, sha256:"), done
    image = spored.cli("image", "show", "checked", "--json").json()
    tree = spored.state / "images/roots" / image["root"].removeprefix("sha256:") / "tree"
    python = next(tree.glob("usr/bin/python3.*"))
    original = python.read_bytes()
    python.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    (tree / "usr/bin/more").write_text("")
    (tree / "opt/mark").unlink()
    (tree / "etc/hosts").chmod(0o666)
    done = spored.cli("image", "verify", "checked")
    assert done.code == 1, done
    for part in (f"/usr/bin/{python.name}: is \"f 755", "/usr/bin/more: added", "/opt/mark: missing",
                 "/etc/hosts: is \"f 666", "4 differences"):
        assert part in done.out + done.err, done
    assert len(spored.cli("image", "verify", "checked", "--json").json()["differences"]) == 4
    pathlib.Path(image["manifest"]).write_text('runtime = "python"\npreload = ["json"]\n')
    assert "the manifest" in spored.cli("image", "verify", "checked").out
    assert spored.cli("image", "rm", "checked").code == 0


MANIFEST = """
# What it is called is said on the command line.
preload = ["json", "mine"]
warm-up = "mine.warm"
root = "tree"
[environment]
COLOUR = "green"
[limits]
memory-bytes = "96MiB"
timeout-ms = 5000
"""
MINE = "calls = []\ndef warm():\n    calls.append(1)\n    if len(calls) > 1: raise RuntimeError\n"


def test_a_manifest_says_the_rest(spored, root, tmp_path):
    shutil.copytree(root, tmp_path / "tree", symlinks=True)
    packages = next((tmp_path / "tree/usr/lib").glob("python3.*"))
    (packages / "mine.py").write_text(MINE)
    (tmp_path / "m.toml").write_text(MANIFEST)
    done = spored.cli("image", "import", "full", "--runtime", "python", "--manifest", tmp_path / "m.toml", timeout=300)
    assert done.code == 0, done
    image = spored.cli("image", "show", "full", "--json").json()
    assert image["preload"] == ["json", "mine"] and image["warm_up"] == "mine.warm"
    assert int(image["limits"]["memory_bytes"]) == 96 << 20 and int(image["limits"]["timeout_ms"]) == 5000
    spored.deploy("warmed", {"app.py": "import mine, os, sys\ndef handler(e, c): return [mine.calls, os.environ['COLOUR'],"
                                       "c.memory_limit_in_mb]"}, image="full")
    assert spored.result("warmed")[:2] == [[1], "green"]
    assert spored.call("Functions", "Get", {"name": "warmed"})["settings"]["limits"]["memory_bytes"] == 96 << 20
    (packages / "mine.py").write_text("def warm(): raise ValueError('cold')")
    done = spored.cli("image", "import", "full", "--runtime", "python", "--manifest", tmp_path / "m.toml", timeout=300)
    assert done.out.startswith("imported full@2"), done
    spored.deploy("cold", {"app.py": "def handler(e, c): pass"}, image="full")
    with pytest.raises(ttrpc.RpcError, match="warm-up mine.warm: ValueError: cold"):
        spored.invoke("cold")


@pytest.mark.parametrize("arguments, text", [
    (["python", "--runtime", "python"], "is an image of the host already"),
    (["a/b", "--runtime", "python"], "expected 1 to 64"),
    (["x@1", "--runtime", "python"], "expected 1 to 64"),
    (["new", "--runtime", "perl"], '"perl" is unknown'),
    (["new", "--runtime", "node"], "no /usr/bin/node and no /usr/local/bin/node"),
    (["new"], "give --runtime or --manifest"),
])
def test_bad_arguments(spored, root, arguments, text):
    done = spored.cli("image", "import", *arguments, "--root", root, timeout=300)
    assert done.code == 4 and text in done.err, done
    assert not (spored.state / "images/names/new").exists() and not list((spored.state / "images/staging").iterdir())


@pytest.mark.parametrize("manifest, text", [
    ('runtime = "node"', "but the manifest says"), ('name = "other"', 'imported as "new"'),
    ("colour = 1", "unknown key"), ('preload = ["a b"]', "is not the name of a module"),
    ('warm-up = "x"', "no such function"), ("[limits]\npids = 0", "out of range"), ("= 3", "manifest of image new:1")])
def test_bad_manifests(spored, root, tmp_path, manifest, text):
    (tmp_path / "m.toml").write_text(manifest)
    with own.pipe_of(b"") as end:
        error = spored.error_of("Images", "Import", {"name": "new", "runtime": "python", "manifest": manifest}, [end])
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and text in error.message, error.message


def test_an_image_that_cannot_be_used_says_why(spored, root, tmp_path):
    shutil.copytree(root, tmp_path / "root", symlinks=True)
    for library in (tmp_path / "root").rglob("libc.so.6"):
        library.unlink()
    import_image(spored, "broken", tmp_path / "root")
    spored.deploy("broken", {"app.py": APP}, image="broken")
    with pytest.raises(ttrpc.RpcError, match="image broken@1 cannot be used: .*libc.so.6"):
        spored.invoke("broken")
    daemon.wait_until(lambda: "libc.so.6" in spored.cli("image", "ls").out, what="and so does the list, between two tries")
    import_image(spored, "broken", root)
    assert spored.cli("function", "update", "broken", "--image", "broken").code == 0
    assert spored.result("broken")["python"] == "/usr/bin/python3"


def test_blocks_of_uids_are_given_back(root):
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")], "uid-count": 2 * 65536})
    with server.running():
        for name in ("first", "second"):
            import_image(server, name, root)
        script = b"import os; print(os.getuid())"

        def run(name):
            return server.cli("run", "--runtime", "python", "--image", name, "/dev/stdin", input=script)

        assert run("first").code == 0
        done = run("second")
        assert done.code != 0 and "all 1 blocks of uids are in use" in done.err and "uid-count" in done.err, done
        assert server.cli("image", "ls", "-q").out.split() == ["first@1", "second@1"]
        assert server.cli("image", "rm", "first").code == 0
        assert run("second").code == 0
        assert run("first").code != 0


def test_a_root_is_not_for_image_dirs(spored, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/x.toml").write_text('runtime = "python"\nroot = "/srv/root"\n')
    config = tmp_path / "spore.toml"
    config.write_text(f'image-dirs = ["{tmp_path}/images"]\nstate-dir = "{tmp_path}/state"\nruntime-dir = "{tmp_path}/run"\n')
    done = daemon.subprocess.run([daemon.find_program("spored"), "--config", config], capture_output=True, text=True,
                                 env=daemon.environment())
    assert done.returncode == 2 and "x.toml:2: root:" in done.stderr and "spore image import" in done.stderr


def test_for_root_alone(spored, root, stranger):
    spored.socket.chmod(0o666)
    for arguments in (["import", "mine", "--runtime", "python", "--root", "/dev/null/x"], ["verify", "small"],
                      ["rm", "small"]):
        if arguments[0] == "import":
            arguments[-1] = str(daemon.ROOT / "README.md")
        done = spored.cli("image", *arguments, prefix=stranger)
        assert done.code == 4 and "only root may" in done.err, done
    assert "small@1" in spored.cli("image", "ls", "-q", prefix=stranger).out.split()


def test_a_restart_finds_everything_again(spored, root):
    import_image(spored, "kept", root)
    spored.deploy("keeper", {"app.py": APP}, image="kept")
    before = spored.cli("image", "show", "kept", "--json").json()
    assert spored.stop() == 0
    spored.start()
    after = spored.cli("image", "show", "kept", "--json").json()
    assert {**after, "state": ""} == {**before, "state": ""}
    assert spored.result("keeper")["python"] == "/usr/bin/python3"
    assert import_image(spored, "kept", root).out.startswith("unchanged kept@1")


@pytest.mark.parametrize("point", own.POINTS)
@pytest.mark.parametrize("how", ["fail", "kill"])
def test_nothing_half_made_stays(root, point, how):
    """At each step of an import: an error, and SIGKILL, after which the next start sweeps."""
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    try:
        server.start({"SPORE_FAULT": f"{point}:{how}"})
        done = server.cli("image", "import", "half", "--runtime", "python", "--root", root, timeout=300)
        assert done.code == (4 if how == "fail" else 3), done
        if how == "kill":
            server.process.wait(60)
            server.start()
        images = server.state / "images"
        whole = how == "kill" and point == "image-placed"
        assert [path.name for path in (images / "names").iterdir()] in ([["half"]] if whole else [[], ["half"]])
        assert not list((images / "staging").iterdir()) and len(list((images / "roots").iterdir())) == whole
        assert server.cli("image", "ls", "-q").out.split() == (["half@1"] if whole else [])
        if how == "kill":
            assert server.cli("image", "import", "half", "--runtime", "python", "--root", root, timeout=300).code == 0
            assert server.cli("image", "verify", "half").code == 0
        server.check_end()
    finally:
        server.stop(9)
        server.remove()


def test_a_full_disk(root):
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    server.state.mkdir()
    daemon.subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", server.state], check=True)
    try:
        server.start()
        done = server.cli("image", "import", "large", "--runtime", "python", "--root", root, timeout=300)
        assert done.code == 4 and "No space left on device" in done.err, done
        images = server.state / "images"
        assert [list((images / part).iterdir()) for part in ("names", "roots", "staging")] == [[], [], []]
        with own.file_of(own.tar_of({"usr/bin/python3": "x"})) as fd:
            server.call("Images", "Import", {"name": "tiny", "runtime": "python"}, [fd])
        server.stop()
    finally:
        server.stop(9)
        daemon.subprocess.run(["umount", server.state], check=True)
        server.remove()


def test_killed_while_it_unpacks(spored, root):
    """The worker dies with the daemon, and what it had written goes at the next start."""
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    try:
        server.start()
        end, other = daemon.os.pipe()
        whole = own.tar_of_directory(root)
        daemon.os.set_blocking(other, False)
        with server.client() as client:
            client.send("Images", "Import", {"name": "half", "runtime": "python"}, [end])
            daemon.os.close(end)
            sent = 0
            while sent < 1 << 20:
                try:
                    sent += daemon.os.write(other, whole[sent:sent + 65536])
                except BlockingIOError:
                    daemon.time.sleep(0.01)
            daemon.wait_until(lambda: list((server.state / "images/staging").glob("*/unpacked/archive/usr")),
                              what="it unpacks")
            server.process.kill()
            server.process.wait()
        daemon.os.close(other)
        server.start()
        assert not list((server.state / "images/staging").iterdir())
        server.check_end()
    finally:
        server.stop(9)
        server.remove()
