"""Images from outside: what `spore image` tells of them."""
import daemon
import pytest
import ttrpc

FULL = """
runtime = "python"
interpreter = "/usr/bin/python3"
options = ["-q"]
preload = ["json", "decimal"]
packages = ["python3-minimal"]
eager = true
[environment]
COLOUR = "green"
"""


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored({"max-limits": {"memory-bytes": "96MiB"}})
    images = server.directory / "images"
    (images / "full.toml").write_text(FULL)
    (images / "absent.toml").write_text('runtime = "python"\ninterpreter = "/usr/bin/no-such-python"\n')
    with server.running():
        yield server


def image_of(server, name):
    return server.cli("image", "show", name, "--json").json()


def test_list(spored):
    done = spored.cli("image", "ls")
    assert done.code == 0 and done.out.split()[:2] == ["NAME", "RUNTIME"], done
    assert str(daemon.ROOT / "images/python.toml") in done.out and "not started" in done.out
    names = spored.cli("image", "ls", "-q").out.split()
    assert set(names) >= {"python", "node", "full", "absent"} and names == sorted(names)
    listed = spored.cli("image", "ls", "--json").json()
    assert [image["name"] for image in listed] == names
    assert listed[names.index("python-web")] == image_of(spored, "python-web")
    info = spored.cli("info")
    assert f"Images:  {len(names)}:" in info.out and "not started" in info.out, info


def test_show(spored):
    daemon.wait_until(lambda: image_of(spored, "full")["state"] == "READY", what="it started with the daemon")
    image = image_of(spored, "full")
    manifest = str(spored.directory / "images/full.toml")
    assert (image["runtime"], image["interpreter"], image["manifest"]) == ("python", "/usr/bin/python3", manifest)
    assert image["preload"] == ["json", "decimal"] and image["environment"] == {"COLOUR": "green"}
    assert image["options"] == ["-q"] and image["packages"] == ["python3-minimal"] and image["eager"] is True
    assert image["limits"]["memory_bytes"] == 96 << 20 and image["threads"] is False
    assert image["runtime_version"].startswith("3.") and image["zygote_pid"] > 0 and image["forks"] == 0
    assert image_of(spored, "python-numpy-threads")["threads"] is True
    text = spored.cli("image", "show", "full").out
    for part in (manifest, "/usr/bin/python3", "-q", "json decimal", "python3-minimal", "COLOUR=green", "96 MiB",
                 "ready", "with the daemon", str(image["zygote_pid"]), image["runtime_version"]):
        assert part in text, (part, text)
    other = spored.cli("image", "show", "python-web").out
    assert "not started" in other and "with the first call" in other and "Zygote" not in other


def test_unusable_image_says_why(spored):
    spored.deploy("absent", {"app.py": ""}, image="absent")
    with pytest.raises(ttrpc.RpcError, match="not installed"):
        spored.invoke("absent")
    for arguments in (["image", "show", "absent"], ["image", "ls"]):
        done = daemon.wait_until(lambda: (lambda d: d if "unusable" in d.out else None)(spored.cli(*arguments)))
        assert done.code == 0 and "/usr/bin/no-such-python is not installed" in done.out, done


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "../etc", ""])
def test_unknown_image(spored, name):
    error = spored.error_of("Images", "Get", {"name": name})
    assert error.code == ttrpc.CODES["NOT_FOUND"]
    assert f'no image "{name[:64]}"; there are absent, full, ' in error.message and len(error.message) < 1000
    done = spored.cli("image", "show", name)
    assert done.code in (2, 4) and done.out == "" and done.err, done


def test_everybody_who_may_use_the_socket_sees_images(spored, stranger):
    spored.socket.chmod(0o666)
    done = spored.cli("image", "ls", "-q", prefix=stranger)
    assert done.code == 0 and "full" in done.out.split()
