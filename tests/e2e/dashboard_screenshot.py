"""Makes docs/dashboard.png: the dashboard of a real gateway and daemon, with functions that are called.

    SPORE_BUILD=build-test /usr/bin/python3 tests/e2e/dashboard_screenshot.py docs/dashboard.png [light|dark] [SECONDS]
"""
import random
import sys
import threading
import time

import browser
import daemon
import gateway

ECHO = "def handler(event, context):\n    return event\n"
REPORT = """
import numpy
def handler(event, context):
    samples = numpy.random.default_rng().normal(size=(event["n"], 64))
    return float(numpy.linalg.svd(samples, compute_uv=False)[0])
"""
THUMBNAIL = """
import io
from PIL import Image
def handler(event, context):
    picture = Image.linear_gradient("L").rotate(event["n"] % 360)
    picture.thumbnail((64, 64))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return len(out.getvalue())
"""
IMAGE = """
runtime = "python"
[environment]
OPENBLAS_NUM_THREADS = "1"
[[set]]
name = "figures"
modules = ["numpy"]
eager = true
[[set]]
name = "pictures"
modules = ["PIL.Image"]
eager = true
"""
LOOKUP = """
PRICES = {"apple": 3, "pear": 4}
def handler(event, context):
    return PRICES[event["fruit"]]
"""
MAIL = """
def handler(event, context):
    if event["n"] % 7 == 0:
        raise ValueError(f"no such address: <user{event['n']}@example.com>")
    return "sent"
"""
RENDER = "exports.handler = async (event) => `<h1>${event.title}</h1>`.repeat(20);\n"


def deploy(server):
    server.deploy("echo", {"app.py": ECHO}, Description="answers with what it is sent")
    server.deploy("lookup", {"app.py": LOOKUP}, Description="prices of fruit")
    server.deploy("mail", {"app.py": MAIL}, Description="tells users of their orders")
    server.deploy("render", {"index.js": RENDER}, runtime="nodejs18.x", handler="index.handler",
                  Description="pages for the shop")


def caller(server, stop, name, event, pause):
    while not stop.is_set():
        server.invoke(name, event())
        time.sleep(random.expovariate(1 / pause))


def main(path, scheme="light", seconds="45"):
    number = iter(range(1, 1 << 30))
    work = {"echo": (lambda: {"n": 1}, 0.04), "thumbnail": (lambda: {"n": next(number)}, 0.15),
            "lookup": (lambda: {"fruit": random.choice(["apple", "pear"] * 30 + ["quince"])}, 0.08),
            "mail": (lambda: {"n": next(number)}, 0.7), "render": (lambda: {"title": "pears"}, 0.25),
            "report": (lambda: {"n": random.randrange(50, 400)}, 0.9)}
    place = daemon.Spored(gateway.SPORED_CONFIG)
    (place.directory / "images/shop.toml").write_text(IMAGE)
    with place.running() as spored, gateway.Gateway(spored).running() as server:
        deploy(server)
        # Spore's own settings, which Lambda's interface has no words for, as the gateway's user sets them.
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shop = ["--runtime", "python", "--image", "shop", "--handler", "app.handler", "--isolation", "invocation"]
        for name, code, words in (("report", REPORT, "figures of the day"), ("thumbnail", THUMBNAIL, "small pictures")):
            folder = spored.directory / name
            folder.mkdir()
            (folder / "app.py").write_text(code)
            done = spored.cli("function", "deploy", name, *shop, "--description", words, folder, prefix=user)
            assert done.code == 0, done
        done = spored.cli("function", "update", "lookup", "--isolation", "invocation", "--min-instances", 2, prefix=user)
        assert done.code == 0, done
        stop = threading.Event()
        threads = [threading.Thread(target=caller, args=(server, stop, name, *how)) for name, how in work.items()]
        with browser.Browser().running() as chromium:
            chromium.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            chromium.devtools("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)
            chromium.open(server.url + "/dashboard")
            for thread in threads:
                thread.start()
            try:
                time.sleep(float(seconds))
                daemon.wait_until(lambda: chromium.text("#live") == "live", what="the page is live")
                chromium.screenshot(path)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
