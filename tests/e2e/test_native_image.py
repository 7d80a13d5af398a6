"""Native images: what a zygote has loaded, and what it cannot be made of."""
import os
import pathlib
import shutil

import daemon
import natives
import pytest

IMAGES = {
    "native-z": ["libz.so.1"],
    "native-none": ["libnosuch.so.1"],
    "native-draws": ["/run/spore/host/native/libdraws_at_load.so"],
    "native-thread": ["/run/spore/host/native/libstarts_thread_at_load.so"],
    "native-file": ["/run/spore/host/native/libopens_file_at_load.so"],
    "native-throws": ["/run/spore/host/native/libthrows_at_load.so"],
}


@pytest.fixture(scope="module")
def images(spored):
    """The daemon, started again with those images; their libraries lie beside Spore's own files,
    which every image has."""
    own = pathlib.Path(daemon.environment().get("SPORE_HOSTS") or installed_hosts())
    hosts = spored.directory / "hosts"
    shutil.copytree(own, hosts, ignore=shutil.ignore_patterns("*.p"))
    for source in ("draws_at_load.c", "starts_thread_at_load.c", "opens_file_at_load.c",
                   "throws_at_load.cc"):
        name = source.split(".")[0]
        (hosts / "native" / f"lib{name}.so").write_bytes(natives.library(
            source, f"-Wl,-soname,lib{name}.so", "-l:libcrypto.so.3" if "draws" in name else "-lm"))
    # No others: each has uids of its own, of which a daemon has so many.
    spored.write_config({"image-dirs": [str(spored.directory / "images")]})
    shutil.copy(daemon.ROOT / "images/native.toml", spored.directory / "images")
    for name, preload in IMAGES.items():
        (spored.directory / "images" / f"{name}.toml").write_text(
            f'runtime = "native"\npreload = {daemon.toml_value(preload)}\npackages = ["some"]\n')
    assert spored.stop() == 0
    spored.start({"SPORE_HOSTS": str(hosts)})
    return spored


def installed_hosts():
    return next(path for path in pathlib.Path("/usr/local").glob("lib*/**/spore/hosts") if path.is_dir())


def deploy(spored, image, handler):
    name = f"on-{image}"
    spored.deploy(name, {"a.so": natives.library("handlers.c")}, runtime="native", image=image,
                  handler=handler, isolation="ISOLATION_INVOCATION")
    return name


@pytest.mark.parametrize("image,expected", [("native", False), ("native-z", True)])
def test_preloaded_libraries_are_there(images, image, expected):
    loaded = images.result(deploy(images, image, "a.so:lists_libraries"))
    assert any("libz.so" in path for path in loaded) == expected, loaded
    assert any("libstdc++" in path for path in loaded), loaded
    found = {i["name"]: i for i in images.call("System", "Info")["images"]}
    assert found[image]["runtime_version"].startswith("glibc ")


def test_handler_of_a_preloaded_library(images):
    """It is found by its name, where the function has no file of that name; loaded once for all."""
    name = deploy(images, "native-draws", "libdraws_at_load.so:draw")
    drawn = [images.result(name) for _ in range(8)]
    assert len({first for first, _ in drawn}) == 1, drawn
    # OpenSSL notices the fork: siblings go on differently from what the zygote had begun.
    assert len({now for _, now in drawn}) == len(drawn), drawn


@pytest.mark.parametrize("image,words", [
    ("native-none", "preload libnosuch.so.1: libnosuch.so.1: cannot open shared object file"),
    ("native-thread", "the zygote has 2 threads"),
    ("native-file", "memfd:kept-open"),
    ("native-throws", "std::logic_error: not today"),
])
def test_image_that_cannot_be_is_told(images, image, words):
    name = deploy(images, image, "a.so:echo")
    error = images.error_of("Invocations", "Invoke", {"name": name})
    assert words in error.message and "packages some" in error.message, error
    with open(os.devnull, "r+b") as null:
        error = images.error_of("Invocations", "Run", {
            "runtime": "native", "image": image, "args": ["true"]}, [null.fileno()] * 3)
    assert words in error.message, error
