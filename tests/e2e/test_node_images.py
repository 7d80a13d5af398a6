"""Images of Node: what their modules may do when they are preloaded, and how one says that it cannot be."""
import os
import pathlib
import shutil

import daemon
import pytest
import ttrpc

# Below /usr, which is what an image shows of the host.
MODULES = pathlib.Path(f"/usr/lib/spore-test-modules-{os.getpid()}")

FILES = {
    # Draws from everything that Node makes ahead.
    "drawer/index.js": "const crypto = require('crypto'); for (let i = 0; i < 37; ++i) crypto.randomUUID();"
                       "for (let i = 0; i < 500; ++i) crypto.randomInt(10); Math.random();"
                       "crypto.webcrypto.randomUUID(); exports.own = crypto.randomUUID;",
    # Has a thread with an event loop of its own, and has used the pool's.
    "worker/index.js": "const { Worker } = require('worker_threads'); require('fs').promises.readFile('/etc/hosts');"
                       "const one = new Worker(`const { parentPort } = require('worker_threads'); let count = 0;"
                       "parentPort.on('message', (m) => require('fs').promises.readFile('/etc/hosts').then(() =>"
                       "parentPort.postMessage([m * 2, ++count])));`, { eval: true }); one.unref();"
                       "exports.ask = (m) => new Promise((r) => { one.ref(); one.once('message', (a) => { one.unref(); r(a); });"
                       "one.postMessage(m); });",
    "esm/package.json": '{"type":"module","exports":"./index.js"}',
    "esm/index.js": "export const made = process.hrtime.bigint();",
    "throws/index.js": "throw new RangeError('not today');",
    "exits/index.js": "process.exit(3);",
    "listens/index.js": "require('net').createServer().listen('\\0listens');",
    "busy/index.js": "const { Worker } = require('worker_threads'); new Worker('for (;;) ;', { eval: true });",
    "later/index.js": "setTimeout(() => { throw new Error('in a timer'); }, 0);"
                      "const end = Date.now() + 20; while (Date.now() < end);",
}
IMAGES = {
    "drawing": 'preload = ["drawer"]', "threaded": 'preload = ["worker"]', "modern": 'preload = ["esm", "node:fs"]',
    "throwing": 'preload = ["throws"]', "exiting": 'preload = ["exits"]', "missing": 'preload = ["nowhere"]',
    "listening": 'preload = ["listens"]', "busy": 'preload = ["busy"]', "later": 'preload = ["later"]',
    "absent": 'interpreter = "/usr/bin/no-such-node"\npackages = ["nodejs"]',
    "other": 'interpreter = "/usr/bin/true"',
}


@pytest.fixture(scope="module")
def spored():
    for name, text in FILES.items():
        (MODULES / name).parent.mkdir(parents=True, exist_ok=True)
        (MODULES / name).write_text(text)
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")]})
    shutil.copy(daemon.ROOT / "images/node.toml", server.directory / "images")
    for name, text in IMAGES.items():
        (server.directory / "images" / (name + ".toml")).write_text(
            f'runtime = "node"\n{text}\n[environment]\nNODE_PATH = "{MODULES}"\n')
    try:
        with server.running():
            yield server
    finally:
        shutil.rmtree(MODULES)


def deploy(spored, image, code):
    spored.deploy(image, {"index.js": code}, "index.handler", "ISOLATION_INVOCATION", runtime="node", image=image,
                  limits={"memory_bytes": 256 << 20})


def test_preloaded_modules_leave_no_cached_randomness(spored):
    deploy(spored, "drawing",
           "const crypto = require('crypto');"
           "exports.handler = async () => [crypto.randomUUID(), crypto.webcrypto.randomUUID(), Math.random(),"
           "require('drawer').own(), crypto.randomInt(2 ** 47), crypto.randomInt(2 ** 47), crypto.randomUUID.name,"
           "crypto.randomInt.name];")
    found = [spored.result("drawing") for _ in range(6)]
    assert all(one[-2:] == ["randomUUID", "randomInt"] for one in found)
    drawn = [value for one in found for value in one[:-2]]
    assert len(set(drawn)) == len(drawn), found


def test_threads_of_a_preloaded_module_are_copied(spored):
    deploy(spored, "threaded",
           "const { ask } = require('worker'); exports.handler = async (event) => [await ask(event), await ask(1),"
           "require('fs').readdirSync('/proc/self/task').length >= 10];")
    for number in range(5):
        assert spored.result("threaded", number) == [[number * 2, 1], [2, 2], True]


def test_es_modules_can_be_preloaded(spored):
    deploy(spored, "modern", "exports.handler = async () => Number(process.hrtime.bigint() - (await import('"
           + str(MODULES) + "/esm/index.js')).made) / 1e9;")
    first, second = spored.result("modern"), spored.result("modern")
    assert 0 < first < second, "loaded once, in the zygote"


@pytest.mark.parametrize("image, text", [
    ("throwing", "preload throws: RangeError: not today"), ("missing", "preload nowhere: Error: Cannot find module"),
    ("exiting", "it ended with status 3"), ("listening", "socket:["), ("busy", "thread"),
    ("later", "Error: in a timer"), ("absent", "/usr/bin/no-such-node is not installed"),
    ("other", "it ended with status 0")])
def test_an_image_that_cannot_be_says_why(spored, image, text):
    deploy(spored, image, "exports.handler = async () => 1;")
    with pytest.raises(ttrpc.RpcError) as caught:
        spored.invoke(image)
    assert caught.value.code == ttrpc.CODES["FAILED_PRECONDITION"]
    assert f"image {image} cannot be used" in caught.value.message and text in caught.value.message
    if image == "absent":
        assert "needs the Debian packages nodejs" in caught.value.message
    # It is tried again now and then.
    daemon.wait_until(lambda: [one for one in spored.call("System", "Info")["images"] if one["name"] == image
                               and one["state"] == "FAILED" and text in one["reason"]], what="the reason is told")


def test_the_daemon_does_not_mind(spored):
    spored.deploy("well", {"index.js": "exports.handler = async () => 'well';"}, "index.handler", runtime="node")
    assert spored.result("well") == "well"
    # It tells a failure once, though it tries again; the end of a supervisor may be seen before what it says of it, or after.
    told = [line for line in spored.log_text().splitlines() if "image absent: cannot start its zygote" in line]
    assert all(one != next_one for one, next_one in zip(told, told[1:])), told
