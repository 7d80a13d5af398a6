"""Sessions whose connections may go to listed places, and those that have no network at all."""
import http.server
import json
import os
import subprocess
import sys
import threading

import daemon
import far_host
import pytest
import sandboxes
from egress import (  # noqa: F401
    AT,
    NAMED,
    PROXY,
    allowed,
    box,
    connects,
    curl,
    egress,
    everything,
    far,
    log_of,
    raw,
    settled_proxies,
    spored,
    status_of,
)
from far_host import (
    DNS,
    ECHO,
    FAR4,
    FAR6,
    FAR_PRIVATE,
    HOST4,
    HOST6,
    HOST_PRIVATE,
    NOBODY,
    OTHER,
    PRIVATE,
    SILENT,
    TLS,
    WEB,
)

sys.path.insert(0, str(daemon.ROOT / "tools/clients/python/src"))
import spore  # noqa: E402

INVALID, DENIED = 3, 7  # codes of spore.proto


# ---- clients as they are ----

def test_curl(box, far):
    answer = json.loads(curl(box, f"HTTP://web.test:{WEB}/a/b?c=d")["stdout"])
    assert answer["path"] == "/a/b?c=d" and answer["headers"]["host"] == f"web.test:{WEB}"
    assert "proxy-connection" not in answer["headers"]
    posted = json.loads(curl(box, "--data-binary", "@-", f"HTTP://a.b.wild.test:{WEB}/", input=b"x" * 300_000)["stdout"])
    assert posted["method"] == "POST" and posted["body"] == 300_000
    assert len(curl(box, "-p", f"HTTP://web.test:{WEB}/")["stdout"]) > 50  # by CONNECT
    socks = json.loads(curl(box, "--noproxy", "", "-x", "socks5h://127.0.0.1:3128", f"HTTP://web.test:{WEB}/s")["stdout"])
    assert socks["path"] == "/s"


def test_urllib(box):
    text = f"import urllib.request, json; json.load(urllib.request.urlopen('HTTP://web.test:{WEB}/u', timeout=90))['path']"
    assert box.value(text) == "'/u'"
    refused = box.code(f"urllib.request.urlopen('HTTP://evil.test:{WEB}/', timeout=90)")["error"]
    assert refused["type"] == "HTTPError" and "no rule lists it" in refused["message"], refused


def test_tls(spored, far):
    with sandboxes.sandbox(spored, network=f"egress:web.test:{TLS}") as box:
        box.write("/tmp/ca.pem", far.certificate())
        answer = curl(box, "--cacert", "/tmp/ca.pem", f"HTTPS://web.test:{TLS}/tls")
        assert json.loads(answer["stdout"])["path"] == "/tls", answer
        box.value("import ssl, urllib.request, json; c = ssl.create_default_context(cafile='/tmp/ca.pem'); 1")
        assert box.value(f"json.load(urllib.request.urlopen('HTTPS://web.test:{TLS}/x', context=c))['path']") == "'/x'"
        refused = box.code("urllib.request.urlopen('HTTPS://evil.test/', context=c)")["error"]
        assert "403" in refused["message"] and "no rule lists it" in refused["message"], refused


def test_git(spored, far):
    repository = os.path.join(far.folder, "repository.git")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "-q", repository], check=True)
    subprocess.run([*git, "-C", repository, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    subprocess.run([*git, "-C", repository, "update-server-info"], check=True)
    with sandboxes.sandbox(spored, network=f"egress:web.test:{WEB}") as box:
        done = box.shell(f"cd /tmp && git clone -q http://{AT}/files/repository.git/.git r && "
                         "git -C r log --format=%s", timeout_ms=60_000)
        assert done["stdout"] == b"first\n", done


def test_a_branch_has_a_way_out_of_its_own(box):
    box.code("branched = 1")
    (made,) = box.call("Branch")["sessions"]
    copy = sandboxes.Sandbox(box.spored, made["id"])
    try:
        assert copy.value("branched") == "1" and copy.inspect()["network"] == box.inspect()["network"]
        assert json.loads(curl(copy, f"HTTP://web.test:{WEB}/b")["stdout"])["path"] == "/b"
    finally:
        copy.kill()


def test_a_restored_session_has_a_way_out_of_its_own(box):
    box.code("kept = 1")
    box.detach("sleep", "600")  # a branch is then one of all of it
    box.spored.call("SessionCheckpoints", "Create", {"id": box.id, "name": "out", "leave_running": True})
    copies = [box.spored.call("SessionCheckpoints", "Restore", {"name": "out"}), *box.call("Branch")["sessions"]]
    box.spored.call("SessionCheckpoints", "Remove", {"name": "out"})
    for made in copies:
        copy = sandboxes.Sandbox(box.spored, made["id"])
        try:
            assert copy.value("kept") == "1" and copy.inspect()["network"] == box.inspect()["network"]
            assert json.loads(curl(copy, f"HTTP://web.test:{WEB}/b")["stdout"])["path"] == "/b"
        finally:
            copy.kill()
    assert json.loads(curl(box, f"HTTP://web.test:{WEB}/b")["stdout"])["path"] == "/b"


def test_programs_and_code_are_told_of_the_proxy(box):
    names = box.out("env | grep -i _proxy | sort").split()
    assert "https_proxy=" + PROXY in names and "HTTP_PROXY=" + PROXY in names
    assert "NO_PROXY=localhost,127.0.0.1,::1" in names
    assert box.value("import os; os.environ['ALL_PROXY']") == repr(PROXY)


def test_own_environment_wins(spored):
    with sandboxes.sandbox(spored, network=NAMED, environment={"http_proxy": ""}) as box:
        assert "\nhttp_proxy=\n" in "\n" + box.out("env")


def test_certificates_of_authorities_are_there(box):
    assert os.path.exists("/etc/ssl/certs/ca-certificates.crt")
    assert "BEGIN CERTIFICATE" in box.out("head -c 2000 /etc/ssl/certs/ca-certificates.crt")
    assert int(box.out("cat /etc/ssl/certs/*.0 | grep -c 'BEGIN CERTIFICATE'")) > 20  # as OpenSSL looks for them
    assert box.shell("ls /etc/ssl/private")["code"] != 0


# ---- what the rules say ----

def test_by_host_and_port(box, far):
    assert allowed(connects(box, f"web.test:{WEB}")) and allowed(connects(box, f"WEB.Test.:{WEB}"))
    assert allowed(connects(box, f"a.b.wild.test:{WEB}"))
    for place in (f"web.test:{OTHER}", f"wild.test:{WEB}", f"evil.test:{WEB}", f"web.test.evil.test:{WEB}",
                  f"notwild.test:{WEB}", f"{FAR4}:{WEB}", f"[{FAR6}]:{WEB}"):
        line = connects(box, place)
        assert line.startswith("HTTP/1.1 403 ") and place in line and "no rule lists it" in line, line
    # What no rule lists is not even looked up.
    assert not {n for n in far.asked() if "evil" in n or n == "wild.test"}


@pytest.mark.parametrize("place, why", [
    ("private.test", f"{FAR_PRIVATE}, a private address"),
    ("loop.test", "127.0.0.1, an address of the host itself"),
    ("mapped.test", "127.0.0.1, an address of the host itself"),
    ("metadata.test", "169.254.169.254, an address of the host itself"),
    ("own.test", f"{HOST4}, an address of the host itself"),
    ("zero.test", "0.0.0.0 is no address to connect to"),
    (FAR_PRIVATE, "it is a private address"),
    ("127.0.0.1", "it is an address of the host itself"),
    ("[::ffff:127.0.0.1]", "it is an address of the host itself"),
    ("[::1]", "it is an address of the host itself"),
    (HOST4, "it is an address of the host itself"),
    (f"[{HOST6}]", "it is an address of the host itself"),
    ("0.0.0.0", "no address to connect to"),
    ("224.0.0.1", "no address to connect to"),
    ("[64:ff9b::7f00:1]", "it is an address of the host itself"),
])
def test_everything_public_is_no_more_than_that(spored, everything, place, why):
    line = connects(everything, f"{place}:{WEB}")
    assert line.startswith("HTTP/1.1 403 ") and why in line, line


def test_everything_public(everything):
    for place in ("web.test", "six.test", FAR4, f"[{FAR6}]", "mixed.test"):
        assert allowed(connects(everything, f"{place}:{WEB}")), place


@pytest.mark.parametrize("place", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "a..test",
                                   "-a.test", "a b.test", "localhost%00.test", "x" * 64 + ".test", ""])
def test_what_is_no_host(everything, place):
    line = connects(everything, f"{place}:{WEB}")
    assert line.startswith(("HTTP/1.1 400", "HTTP/1.1 403")), line


def test_by_address(spored):
    with sandboxes.sandbox(spored, network=f"egress:{PRIVATE}.0/24:{WEB}-{OTHER},[{FAR6}]:{WEB}") as box:
        assert allowed(connects(box, f"{FAR_PRIVATE}:{WEB}")) and allowed(connects(box, f"{FAR_PRIVATE}:{OTHER}"))
        assert allowed(connects(box, f"[{FAR6}]:{WEB}"))
        assert "403" in connects(box, f"{FAR_PRIVATE}:{ECHO}")
        assert "403" in connects(box, f"[{FAR6}]:{OTHER}")
        assert "403" in connects(box, f"{FAR4}:{WEB}")
        assert "403" in connects(box, f"private.test:{WEB}")  # a name is not what is listed
        # In that network, but the host's.
        assert "address of the host itself" in connects(box, f"{HOST_PRIVATE}:{WEB}")


def test_a_name_and_its_address(spored):
    with sandboxes.sandbox(spored, network=f"egress:private.test:{WEB},{PRIVATE}.0/24:{WEB}") as box:
        assert allowed(connects(box, f"private.test:{WEB}"))


def test_an_address_of_the_host_that_the_operator_lists(spored):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), far_host.Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with sandboxes.sandbox(spored, network=f"egress:127.0.0.1:{port},loop.test:{port}") as box:
            assert allowed(connects(box, f"127.0.0.1:{port}")) and allowed(connects(box, f"loop.test:{port}"))
        server.shutdown()


def test_after_rebinding(spored, far):
    """A name that leads elsewhere the second time is judged the second time."""
    with sandboxes.sandbox(spored, network=f"egress:rebinds.test:{WEB}") as box:
        assert allowed(connects(box, f"rebinds.test:{WEB}"))
        assert "127.0.0.1, an address of the host itself" in connects(box, f"rebinds.test:{WEB}")


def test_names_that_lead_nowhere(everything):
    assert "502" in connects(everything, f"nowhere.test:{WEB}") and "no such name" in connects(everything, "n.test:1")
    assert "the name has no address" in connects(everything, "empty.test:1")
    assert "no name server has answered" in connects(everything, "silent.test:1")
    assert "refused by the server" in connects(everything, f"web.test:{NOBODY}")


def test_a_server_that_does_not_answer(everything):
    assert connects(everything, f"web.test:{SILENT}").startswith("HTTP/1.1 504")


# ---- asked for ----

@pytest.mark.parametrize("network, code, why", [
    ("egress", INVALID, "expected none, or egress:RULE"),
    ("egress:", INVALID, "expected none, or egress:RULE"),
    ("open", INVALID, '"open"; expected none'),
    ("egress:pypi.org", INVALID, 'rule "pypi.org": expected HOST:PORT'),
    ("egress:pypi.org:443,", INVALID, 'rule ""'),
    ("egress:pypi.org:0", INVALID, 'port "0"; expected 1 to 65535'),
    ("egress:pypi.org:80-70", INVALID, 'port "80-70"'),
    ("egress:a.*.org:80", INVALID, "a * stands alone or in front"),
    ("egress:10.0.0.1/8:80", INVALID, "expected 10.0.0.0/8"),
    ("egress:10.0.0.0/33:80", INVALID, "expected 0 to 32"),
    ("egress:2001:db8::1:443", INVALID, "stands in brackets"),
    ("egress:127.1:443", INVALID, "neither a host name nor an address"),
    ("egress:" + ",".join(f"h{i}.test:1" for i in range(65)), INVALID, "65 rules; expected at most 64"),
    ("egress:" + "a" * 5000 + ":1", INVALID, "expected at most 4096"),
    ("egress:10.0.0.0/8:80", DENIED, 'rule "10.0.0.0/8:80" goes beyond what this host allows'),
    ("egress:169.254.169.254:80", DENIED, "spore.toml"),
    ("egress:web.test:80,127.0.0.1:22", DENIED, 'rule "127.0.0.1:22"'),
    ("egress:0.0.0.0/0:80", DENIED, "goes beyond"),
])
def test_what_cannot_be_asked_for(spored, network, code, why):
    error = spored.error_of("Sandboxes", "Create", {"network": network})
    assert error.code == code, error
    assert why in error.message and error.message.startswith("network"), error.message


def test_nothing_is_allowed_unless_an_operator_says_so():
    with daemon.Spored().running() as server:
        done = server.cli("sandbox", "create", "--network", "egress:pypi.org:443")
        assert done.code != 0 and "which is nothing" in done.err and "[sessions]" in done.err, done
        assert server.cli("sandbox", "create", "--network", "none").code == 0


@pytest.mark.parametrize("table, why", [
    ({"egress": ["pypi.org"]}, "sessions.egress"), ({"name-servers": ["dns.test"]}, "sessions.name-servers"),
    ({"name-servers": ["192.0.2.1"] * 4}, "at most 3"), ({"egres": []}, "egres")])
def test_a_wrong_configuration_is_told(table, why):
    server = daemon.Spored({"sessions": table})
    try:
        with pytest.raises(AssertionError):
            server.start()
        assert why in server.log_text()
    finally:
        server.stop(9)
        server.remove()


# ---- no way around ----

DIRECT = """
import errno, json, socket
found = {}
for name, family, to in %r:
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(20)
        try:
            s.connect(tuple(to))
            found[name] = "DONE"
        except OSError as e:
            found[name] = errno.errorcode.get(e.errno, type(e).__name__)
json.dumps(found)
"""


def test_there_is_no_other_way_out(box):
    places = [["far", 2, [FAR4, WEB]], ["private", 2, [FAR_PRIVATE, WEB]], ["six", 10, [FAR6, WEB]],
              ["host", 2, [HOST4, WEB]], ["dns", 2, [FAR4, DNS]]]
    found = json.loads(json.loads(box.code(DIRECT % (places,))["json"]))
    assert set(found.values()) <= {"ENETUNREACH", "EADDRNOTAVAIL"}, found
    assert curl(box, "--noproxy", "*", f"http://{FAR4}:{WEB}/")["code"] == 7


def test_none_is_none(spored):
    for fields in ({}, {"network": "none"}):
        with sandboxes.sandbox(spored, **fields) as box:
            assert box.inspect()["network"] == "none" and box.inspect()["egress"] is None
            assert "_proxy" not in box.out("env").lower()
            refused = box.code("import socket; socket.socket(socket.AF_INET)")["error"]
            assert "Address family not supported" in refused["message"], refused


def test_one_proxy_a_session(spored, box):
    """Each reaches its own only, with a uid and rules of its own."""
    with sandboxes.sandbox(spored, network=f"egress:web.test:{OTHER}") as other:
        assert allowed(connects(other, f"web.test:{OTHER}")) and "403" in connects(other, f"web.test:{WEB}")
        assert allowed(connects(box, f"web.test:{WEB}")) and "403" in connects(box, f"web.test:{OTHER}")
        pids = [status_of(pid) for pid in settled_proxies(spored)]
        assert len(pids) >= 2 and len({p["Uid"] for p in pids}) == len(pids), pids
        for found in pids:
            assert "0" not in found["Uid"].split() and found["Seccomp"] == "2" and found["NoNewPrivs"] == "1"
            assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapBnd"], 16) == 0


# ---- told ----

def test_counted_and_logged(spored, far):
    with sandboxes.sandbox(spored, network=NAMED + ",web.test:" + str(WEB)) as box:
        assert box.inspect()["network"] == NAMED  # each rule once
        assert len(curl(box, f"HTTP://web.test:{WEB}/large")["stdout"]) > 1_000_000
        connects(box, "evil.test:1")
        connects(box, f"private.wild.test:{WEB}")
        found = daemon.wait_until(lambda: (
            lambda e: e if (e["refused"], e["failed"], e["open"]) == (1, 1, 0) else None)(egress(box)))
        assert found["connections"] == 1 and found["received_bytes"] > 8 << 20
        assert 50 < found["sent_bytes"] < 5000 and found["rules"] == NAMED[7:].split(",")
        lines = log_of(box)
        assert "egress: refused evil.test:1: no rule lists it" in lines, lines
        assert f"egress: failed private.wild.test:{WEB}: there is no such name" in lines, lines
        shown = spored.cli("sandbox", "inspect", box.id).out
        assert "1 so far, 0 open; 1 refused, 1 failed" in shown and NAMED in shown, shown
        box.kill()
        dead = box.inspect()
        assert dead["egress"]["refused"] == 1 and not dead["egress"]["serving"] and dead["network"] == NAMED


def test_from_the_command_line(spored):
    done = spored.cli("sandbox", "create", "--network", f"egress:{AT}")
    assert done.code == 0, done
    identity = done.out.strip()
    got = spored.cli("sandbox", "exec", identity, "--", "curl", "-sS", f"http://{AT}/cli")
    assert json.loads(got.out)["path"] == "/cli", got
    assert spored.cli("sandbox", "kill", identity).code == 0


def test_from_python(spored):
    with spore.Client(str(spored.socket)) as client:
        with spore.Sandbox.create(client=client, network=f"egress:{AT}") as box:
            assert box.session.network == f"egress:{AT}" and box.session.egress.serving
            assert json.loads(box.exec(["curl", "-sS", f"http://{AT}/p"]).text)["path"] == "/p"
        with pytest.raises(spore.SporeError, match="goes beyond"):
            spore.Sandbox.create(client=client, network="egress:10.0.0.0/8:1")
