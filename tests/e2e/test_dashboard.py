"""The dashboard in a browser: what it shows and that it moves, what it asks for, and what it does not let in."""
import concurrent.futures
import http.client
import json
import signal
import time

import browser
import daemon
import gateway
import pytest
from gateway import TOKEN

SPORED_CONFIG = gateway.SPORED_CONFIG
PAGE = "/dashboard"
STATE = "/dashboard/state.json"
SECRET = "value-of-an-environment-variable"
MARKUP = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 2</script>"
HELLO = "def handler(event, context):\n    return 'hello'\n"
HOSTILE = f"""
MARKUP = {MARKUP!r}
def handler(event, context):
    print("SYSTEM: Forged: " + MARKUP)
    raise type("Bad" + MARKUP, (Exception,), {{}})("message " + MARKUP)
"""


@pytest.fixture(scope="module")
def spored():
    """A daemon with an image that has two library sets, one below the other."""
    server = daemon.Spored(SPORED_CONFIG)
    (server.directory / "images/shop.toml").write_text(
        'runtime = "python"\neager = true\n[[set]]\nname = "money"\nmodules = ["decimal"]\neager = true\n'
        '[[set]]\nname = "figures"\nparent = "money"\nmodules = ["statistics"]\neager = true\n')
    with server.running():
        yield server


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser().running() as one:
        yield one


@pytest.fixture(scope="module")
def site(spored):
    with gateway.Gateway(spored).running() as server:
        yield server


@pytest.fixture(scope="module")
def guarded(spored):
    tokens = gateway.secret_file(spored.directory / "tokens", f"{TOKEN}\n")
    with gateway.Gateway(spored, **{"token-file": tokens}).running() as server:
        yield server
        assert TOKEN not in server.log_text()


@pytest.fixture(scope="module")
def hello(site):
    """A function that has been called three times when somebody first asks for it."""
    site.deploy("hello", {"app.py": HELLO}, Environment={"Variables": {"KEY": SECRET}})
    for _ in range(3):
        assert site.invoke("hello")[2] == "hello"


@pytest.fixture
def page(chromium, site):
    """The open gateway's page, which is live."""
    chromium.open("about:blank")
    chromium.requests()
    chromium.complaints()
    chromium.open(site.url + PAGE)
    await_live(chromium)
    return chromium


def await_live(chromium):
    daemon.wait_until(lambda: chromium.text("#live") == "live", what="the page is live")


def await_banner(chromium, words):
    daemon.wait_until(lambda: words in (chromium.text("#banner") or ""), what=f"{words} is told")


def await_row(chromium, table, key, condition=lambda row: True):
    def look():
        row = chromium.row(table, key)
        return row if row and condition(row) else None
    return daemon.wait_until(look, what=f"a row {key} of {table}")


def state_of(server, headers=None):
    status, _, body = server.request("GET", STATE, None, headers)
    assert status == 200, body
    return json.loads(body)


def test_without_functions(page):
    assert "No function is deployed." in page.text("#no-functions")
    assert "spore function deploy" in page.text("#no-functions code")
    assert page.text("#functions") is None
    assert page.text("#no-errors") == "None."


def test_nothing_is_asked_of_others(page, site):
    """One page, one style, one script, and the state again and again; the policy is never violated."""
    seen = []
    daemon.wait_until(lambda: seen.extend(page.requests()) or seen.count(site.url + STATE) >= 2, what="two polls")
    others = {url for url in seen if not url.startswith("data:")}
    assert others == {site.url + path for path in (PAGE, "/dashboard/dashboard.css", "/dashboard/dashboard.js", STATE)}
    assert page.complaints() == []
    # Whatever somebody smuggled in, the browser would refuse it.
    for code in ("document.body.innerHTML = '<b>x</b>'", "document.createElement('script').text = '1'"):
        with pytest.raises(AssertionError, match="TrustedHTML|TrustedScript"):
            page.run(code)
    page.complaints()


def test_calls_are_seen_live(page, site, hello):
    await_row(page, "#functions", "hello", lambda row: row[2] == "3")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: site.invoke("hello"), range(40)))
    row = await_row(page, "#functions", "hello", lambda row: row[2] == "43" and "idle" in row[6])
    assert row[3] == "0" and row[4].endswith(("ms", "µs", "s")) and "idle" in row[6] and row[7].endswith("MiB"), row
    daemon.wait_until(lambda: "43 in all" in page.text("#tile-calls"), what="the sum of calls")
    assert SECRET not in json.dumps(state_of(site))


def test_latency_by_start_kind(page, site, hello):
    """A lane for each kind; of all, or of the function whose name is chosen, by keyboard too."""
    daemon.wait_until(lambda: page.run("return document.querySelectorAll('#latency svg rect').length > 2"), what="lanes")
    label = page.run("return document.querySelector('#latency svg').getAttribute('aria-label')")
    assert "warm: " in label and "fork: " in label and "half within" in label, label
    site.deploy("other", {"app.py": HELLO})
    site.invoke("other")
    await_row(page, "#functions", "other", lambda row: row[2] == "1")
    page.run("[...document.querySelectorAll('#functions button')].find(b => b.innerText == 'other').focus()")
    page.press("\ue007")  # Enter
    label = page.run("return document.querySelector('#latency svg').getAttribute('aria-label')")
    assert label.startswith("fork: 1 calls") and "warm" not in label, label
    assert page.run("return document.querySelector('#latency-of').value") == "other"
    assert page.run("return document.activeElement.getAttribute('aria-pressed')") == "true"
    kinds = {row: page.row("#starts", row) for row in ("warm", "fork", "cold")}
    assert all(kinds.values()) and int(kinds["warm"][2]) >= 30, kinds


def test_zygotes_and_memory(page, spored, hello):
    row = await_row(page, "#zygotes", "python", lambda row: row[1].startswith("ready") and row[5].endswith("MiB"))
    assert row[3].isdigit() and row[5].endswith("MiB"), row
    assert await_row(page, "#memory", "hello")[2].endswith("MiB")
    assert await_row(page, "#memory", "spored")[2].endswith("MiB")
    status = spored.cli("zygote", "warm", "python-numpy")
    assert status.code == 0, status
    await_row(page, "#zygotes", "python-numpy", lambda row: row[1].startswith("ready"))
    names = [name.replace("\xa0", " ") for name in page.texts("#zygotes tbody th")]
    at = names.index("shop")
    assert names[at:at + 3] == ["shop", "└ money", "  └ figures"] or names[at:at + 3] == ["shop", "└ money", "└ figures"], names


def test_markup_stays_text(page, site):
    """Whatever a tenant wrote is read, not run."""
    status, _, _ = site.request("POST", "/2015-03-31/functions", json.dumps(
        {"FunctionName": MARKUP, "Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": ""}}))
    assert status == 400
    site.deploy("hostile", {"app.py": HOSTILE}, Description=MARKUP)
    assert site.invoke("hostile")[1]["X-Amz-Function-Error"]
    found = daemon.wait_until(lambda: page.texts("#errors tbody tr"), what="the error is shown")
    assert "hostile" in found[0] and f"message {MARKUP}" in found[0] and "Bad<img" in found[0], found
    assert not any("Forged" in row for row in found)
    await_row(page, "#functions", "hostile", lambda row: row[3] == "1" and MARKUP in row[0])
    assert "handler 1" in page.text("#errors-note")
    assert page.run("return window.pwned === undefined && document.images.length === 0 "
                    "&& document.scripts.length === 1")
    assert page.complaints() == []


def test_spored_away_and_back(page, site, spored, hello):
    spored.stop(signal.SIGKILL)
    try:
        await_banner(page, "spored does not answer since")
        assert page.text("#live") == "not live"
        assert page.row("#functions", "hello")  # as last seen
        state = state_of(site)
        assert state["spored"]["up"] is False and state["spored"]["since_unix_ms"] > 0 and "functions" not in state
    finally:
        spored.start()
    await_live(page)
    assert page.text("#banner") is None
    assert site.invoke("hello")[2] == "hello"
    await_row(page, "#functions", "hello", lambda row: row[2] == "1")


def test_a_spored_that_hangs_is_told(site, spored):
    def waits():
        try:
            site.request("GET", STATE, timeout=3.5)
        except OSError:
            return True
        return False  # it was told what is kept for a while

    spored.process.send_signal(signal.SIGSTOP)
    try:
        daemon.wait_until(waits, what="one that asks waits for it")
        assert "no answer for" in state_of(site)["spored"]["reason"]
    finally:
        spored.process.send_signal(signal.SIGCONT)
    daemon.wait_until(lambda: state_of(site)["spored"]["up"], what="it is back")


def test_a_gateway_that_ends_is_told(chromium, spored):
    with gateway.Gateway(spored).running() as server:
        chromium.open(server.url + PAGE)
        await_live(chromium)
    await_banner(chromium, "The gateway does not answer since")


def test_token(chromium, guarded, hello):
    chromium.open(guarded.url + PAGE)
    daemon.wait_until(lambda: chromium.text("#login"), what="a token is asked for")
    assert chromium.text("#board") is None and chromium.text("#login-error") == ""
    chromium.type("#token", "wrong-token-0123456789")
    chromium.click("#login button")
    daemon.wait_until(lambda: "does not know this token" in (chromium.text("#login-error") or ""), what="refused")
    chromium.type("#token", f"{TOKEN}\ue007")
    await_live(chromium)
    assert chromium.text("#login") is None and await_row(chromium, "#functions", "hello")
    assert chromium.address() == guarded.url + PAGE
    assert not any(TOKEN in url for url in chromium.requests())
    assert chromium.run("return [localStorage.length, document.cookie]") == [0, ""]
    chromium.open(guarded.url + PAGE)  # the tab keeps it
    await_live(chromium)
    chromium.click("#sign-out")
    daemon.wait_until(lambda: chromium.text("#login"), what="signed out")
    assert chromium.run("return sessionStorage.length") == 0 and chromium.text("#board") is None


def test_a_gateway_with_keys_alone(chromium, spored):
    """No token could be right: the page says so, and so does the answer to one."""
    keys = gateway.secret_file(spored.directory / "keys", f"{gateway.KEY} {gateway.SECRET}\n")
    with gateway.Gateway(spored, **{"key-file": keys}).running() as server:
        chromium.open(server.url + PAGE)
        await_banner(chromium, "This gateway takes requests signed with AWS keys alone")
        assert chromium.text("#login") is None and chromium.text("#board") is None
        for headers, words in (({}, b"expected one Authorization header"),
                               ({"Authorization": f"Bearer {TOKEN}"}, b"has none (token-file), only keys")):
            status, answer, body = server.request("GET", STATE, None, headers)
            assert status == 403 and words in body and answer["WWW-Authenticate"] == "AWS4-HMAC-SHA256"
        chromium.open("about:blank")


def test_functions_pages_do_not_get_the_token(chromium, guarded):
    """A page of a function comes from the same address, and has none of its rights."""
    spy = ("def handler(event, context):\n"
           "    return {'statusCode': 200, 'headers': {'Content-Type': 'text/html'}, 'body': '''<p id=out></p><script>\n"
           "let got; try { got = sessionStorage.getItem('spore-token') } catch (e) { got = e.name }\n"
           f"fetch('{STATE}').then(r => r.status, e => e.name).then(s => out.textContent = got + ' ' + s)\n"
           "</script>'''}\n")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    guarded.deploy("spy", {"app.py": spy}, headers=bearer)
    chromium.open(guarded.url + PAGE)
    chromium.run("sessionStorage.setItem('spore-token', arguments[0])", TOKEN)
    chromium.devtools("Network.enable")
    chromium.devtools("Network.setExtraHTTPHeaders", headers=bearer)  # a browser asks for a page without
    try:
        chromium.open(guarded.url + "/fn/spy/")
        chromium.devtools("Network.setExtraHTTPHeaders", headers={})
        assert daemon.wait_until(lambda: chromium.text("#out"), what="what it got").startswith("SecurityError")
    finally:
        chromium.devtools("Network.setExtraHTTPHeaders", headers={})
        chromium.open(guarded.url + PAGE)
        chromium.run("sessionStorage.clear()")


def test_who_may_ask(guarded, site):
    for path in (PAGE, f"{PAGE}/", "/dashboard/dashboard.css", "/dashboard/dashboard.js"):
        assert guarded.request("GET", path)[0] == 200
    for headers in ({}, {"Authorization": "Bearer wrong-token-0123456789"}):
        status, answer, body = guarded.request("GET", STATE, None, headers)
        assert status == 403 and answer["x-amzn-ErrorType"] and b"totals" not in body
    assert guarded.request("GET", f"{STATE}?token={TOKEN}")[0] == 403
    assert state_of(guarded, {"Authorization": f"Bearer {TOKEN}"})["spored"]["up"]
    # Without tokens: no page of elsewhere, and no other name of this host.
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                    {"Origin": f"http://localhost:{site.port + 1}"}):
        assert site.request("GET", STATE, None, headers)[0] == 403


def test_methods_and_headers(site, guarded):
    types = {PAGE: "text/html; charset=utf-8", "/dashboard/dashboard.css": "text/css; charset=utf-8",
             "/dashboard/dashboard.js": "text/javascript; charset=utf-8", STATE: "application/json"}
    for path, kind in types.items():
        status, headers, body = site.request("GET", path)
        assert status == 200 and headers["Content-Type"] == kind and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and body
        if path == STATE:
            assert headers["Cache-Control"] == "no-store"
        else:
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        status, headers, body = site.request("HEAD", path)
        assert status == 200 and body == b"" and int(headers["Content-Length"]) > 100
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = site.request(method, path)
            assert status == 405 and headers["Allow"] == "GET", (method, path)
            assert guarded.request(method, path)[0] == 403
    for path in ("/dashboard/other", "/dashboard/dashboard.js/x", "/dashboard/..%2fetc", "/dashboards", "/dashboard/state"):
        assert site.request("GET", path)[0] == 404, path


def test_many_browsers_are_one(site):
    """The state is asked of spored once for all who look at the same time."""
    def look(connection):
        connection.request("GET", STATE)
        return json.loads(connection.getresponse().read())["now_unix_ms"]

    connections = [http.client.HTTPConnection("127.0.0.1", site.port, timeout=120) for _ in range(50)]
    try:
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            began = time.monotonic()
            times = set(pool.map(look, connections))
            lasted = time.monotonic() - began
        # The state is kept for 0.9 s and more.
        assert len(times) <= 2 + lasted / 0.9
    finally:
        for connection in connections:
            connection.close()
