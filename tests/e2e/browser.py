"""A headless Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2/), which is plain HTTP."""
import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

import daemon

# What would ask for something elsewhere by itself, or has no place in a test.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--disable-default-apps", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
         "--disable-dev-shm-usage", "--hide-scrollbars",
         # Chromium's own sandbox does not work as root, and nothing but our page is loaded.
         "--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    def __init__(self, size=(1440, 900)):
        self.size = size
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spore-e2e-browser-"))
        self.driver = None
        self.session = ""

    def start(self):
        program = shutil.which("chromedriver")
        assert program, "no chromedriver: install chromium-driver"
        log = self.folder / "driver.log"
        environment = {**os.environ, "TMPDIR": str(self.folder), "HOME": str(self.folder)}
        with open(log, "wb") as output:
            self.driver = subprocess.Popen([program, "--port=0"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                           env=environment, start_new_session=True)
        port = daemon.wait_until(lambda: re.search(r"started successfully on port (\d+)\D", log.read_text()),
                                 what="chromedriver listens")[1]
        self.url = f"http://localhost:{port}"
        arguments = [*QUIET, "--headless=new", f"--user-data-dir={self.folder / 'profile'}",
                     f"--window-size={self.size[0]},{self.size[1]}"]
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}}})
        self.session = f"/session/{answer['sessionId']}"
        return self

    def stop(self):
        with contextlib.suppress(OSError, AssertionError):
            if self.session:
                self._ask("DELETE", self.session)
        if self.driver:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.driver.pid, signal.SIGKILL)  # the driver's own session: it and its browser
            self.driver.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def running(self):
        try:
            yield self.start()
        finally:
            self.stop()

    def _ask(self, method, path, body=None):
        data = None if body is None and method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with DIRECT.open(request, timeout=180) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:800]}") from None

    # ---- use ----

    def open(self, url):
        self._ask("POST", f"{self.session}/url", {"url": url})

    def address(self):
        return self._ask("GET", f"{self.session}/url")

    def run(self, script, *arguments):
        """The value of a JavaScript function's body in the page."""
        return self._ask("POST", f"{self.session}/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        """What a person sees of the first such element; None when there is none that shows."""
        return self.run("const e = document.querySelector(arguments[0]);"
                        "return e && e.checkVisibility() ? e.innerText : null", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
                        ".map(e => e.innerText)", selector)

    def row(self, table, key):
        """The cells of the row whose first words are `key`."""
        for row in self.run("return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
                            ".map(r => [...r.cells].map(c => c.innerText.trim()))", table):
            if row[0].split("\n")[0].split(" ")[0] == key:
                return row
        return None

    def click(self, selector):
        self._ask("POST", f"{self.session}/element/{self._find(selector)}/click")

    def type(self, selector, text):
        self._ask("POST", f"{self.session}/element/{self._find(selector)}/value", {"text": text})

    def press(self, key):
        """A key, to whatever has the focus."""
        self._ask("POST", f"{self.session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def _find(self, selector):
        found = self._ask("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def devtools(self, command, **parameters):
        return self._ask("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def requests(self):
        """The addresses that pages have asked for since this was last called."""
        entries = self._ask("POST", f"{self.session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        """What has been written on the console since this was last called."""
        return [entry["message"] for entry in self._ask("POST", f"{self.session}/se/log", {"type": "browser"})]

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._ask("GET", f"{self.session}/screenshot")))
