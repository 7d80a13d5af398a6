"""Images with `loopback = true`: TCP and UDP inside each sandbox, and out of none."""
import concurrent.futures
import os
import pathlib
import socket

import daemon
import pytest
from test_isolation import (  # noqa: F401
    FIREWALLED,
    REFUSED,
    assert_refused,
    host_files,
    test_every_sandbox_has_an_identity_of_its_own,
    test_files_of_the_host_cannot_be_read,
    test_filter_cannot_be_fooled_by_hidden_bits,
    test_foreign_system_call_tables_are_closed,
    test_kernel_interfaces_are_closed,
    test_mount_tree_cannot_be_changed,
    test_namespaces_cannot_be_made_or_joined,
    test_no_descriptor_is_inherited,
    test_no_privilege_is_held_or_gained,
    test_nothing_but_tmp_can_be_written,
)

UNREACHED = REFUSED | {"ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "TimeoutError"}
IMAGE = """
runtime = "python"
preload = ["json", "socket"]
[policy]
loopback = true
[[set]]
name = "more"
modules = ["http.server"]
"""


@pytest.fixture(scope="module", params=["", "more"], ids=["zygote", "set"])
def spored(request):
    server = daemon.Spored()
    (server.directory / "images/loopback.toml").write_text(IMAGE)
    deploy = server.deploy
    # Deployed as always: here it all has loopback.
    server.deploy = lambda name, files, **settings: deploy(
        name, files, **{"image": "loopback", "libraries": request.param, **settings})
    with server.running():
        if request.param:
            assert server.cli("zygote", "warm", "loopback/more").code == 0
        yield server


def test_a_sandbox_talks_to_itself(victims):
    found = victims("loopback")
    assert found["said"].pop("tcp") == "over tcp" and found["said"].pop("udp") == "over udp"
    assert set(found["said"].values()) <= {"over tcp", "over udp"}, found
    assert found["devices"] == ["lo"]
    refused = found["refused"]
    assert refused.pop("mptcp") == "EPROTONOSUPPORT"  # so Go takes TCP
    assert refused.pop("tls in the kernel") == "ENOPROTOOPT"
    assert_refused(refused, REFUSED | {"EPROTONOSUPPORT", "EADDRNOTAVAIL"})


def test_only_tcp_and_udp(victims):
    refused = victims("network")["refused"]
    done = {"inet stream", "inet datagram", "inet6 stream"}
    for family in done:
        assert refused.pop(family) == "DONE"
    assert {refused.pop("inet raw"), refused.pop("inet6 raw")} <= {"EPERM", "EPROTONOSUPPORT"}
    for family in ("packet", "netlink", "netlink audit", "vsock", "alg", "bluetooth", "can", "xdp", "key"):
        assert refused[family] in FIREWALLED | {"EAFNOSUPPORT"}, family
    assert_refused(refused, UNREACHED | {"-2", "-3"})


def addresses_of_the_host():
    """What this host may be reached by, its loopback among them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return ["127.0.0.1", "127.0.0.53", "::1", "0.0.0.0", probe.getsockname()[0]]
        except OSError:
            return ["127.0.0.1", "127.0.0.53", "::1", "0.0.0.0"]


def test_the_host_is_not_reached(victims):
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearing:
        port = listening.getsockname()[1]
        hearing.bind(("0.0.0.0", port))
        with socket.create_connection(("127.0.0.1", port)):  # it is really there
            listening.accept()[0].close()
        found = victims("loopback", seek=[[a, port] for a in addresses_of_the_host()])
        assert len(found) >= 8
        assert_refused(found, UNREACHED)
        for waiting in (listening, hearing):
            waiting.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.accept() if waiting is listening else waiting.recv(1)
        assert_refused(victims("loopback", seek=[["192.0.2.1", 80], ["2001:db8::1", 80], ["224.0.0.1", port],
                                                 ["255.255.255.255", port]]), UNREACHED)


def test_a_neighbour_on_the_same_port_is_not_reached(spored, victims):
    port = 9001
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(victims, "loopback", settle=[port], seconds=25) for _ in range(2)]

        # An instance of the calls before may be on its way out.
        def listening():
            busy = [i["pid"] for i in spored.instances(function="victims") if i["state"] == "BUSY" and i["pid"]]
            found = [pid for pid in busy if os.path.exists(f"/proc/{pid}/root/tmp/settled")]
            return found if len(found) == 2 else None

        settled = daemon.wait_until(listening, what="both listen")
        assert_refused(victims("loopback", seek=[["127.0.0.1", port], ["0.0.0.0", port]]), UNREACHED)
        with pytest.raises(ConnectionRefusedError):  # nor from the host
            socket.create_connection(("127.0.0.1", port), 2)
        for pid in settled:
            pathlib.Path(f"/proc/{pid}/root/tmp/settled").unlink()
        assert [answer.result() for answer in both] == [[], []]


def test_buffers_of_sockets_are_limited(spored, victims):
    """Nearly all that 400 connections would take by the kernel's own measure is refused."""
    filled = victims("loopback", fill=400)
    assert filled["connections"] == 400 and filled["bytes"] < 256 << 20, filled


def test_another_image_has_none(spored, victim_archive):
    spored.deploy("plain", victim_archive, image="python", libraries="", isolation="ISOLATION_INVOCATION")
    refused = spored.result("plain", {"victim": "network"})["refused"]
    for family in ("inet stream", "inet datagram", "inet6 stream"):
        assert refused[family] == "EAFNOSUPPORT"


def test_show_tells(spored):
    assert "TCP and UDP inside each sandbox" in spored.cli("image", "show", "loopback").out
    shown = spored.cli("image", "show", "loopback", "--json").json()
    assert shown["policy"]["loopback"] is True
    assert "Loopback" not in spored.cli("image", "show", "python").out
