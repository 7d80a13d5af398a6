"""Named fault points (sandbox/sys/fault_point.h): each is tripped, by an error and by sudden death.

After either, a function is as it was or as it should become, and nothing is left behind.
"""
import os
import signal

import daemon
import pytest
import ttrpc

OLD = "def handler(e, c):\n    return 'old'\n"
NEW = "def handler(e, c):\n    return 'new'\n"

POINTS = [
    "deploy-unpacked", "deploy-staged", "deploy-synced", "deploy-renamed",
    "update-unpacked", "update-staged", "update-synced", "update-placed", "update-switched",
    "remove-renamed",
]


@pytest.fixture
def place():
    with daemon.Spored().running() as server:
        server.deploy("target", {"app.py": OLD})
        assert server.result("target") == "old"
        assert server.stop() == 0
        yield server


def act(server, point):
    """The operation that passes the point; how it ended."""
    what = point.split("-")[0]
    try:
        if what == "deploy":
            server.deploy("other", {"app.py": NEW})
        elif what == "remove":
            server.remove_function("target")
        else:
            descriptor = ttrpc.sealed_memfd(daemon.make_zip({"app.py": NEW}))
            try:
                server.call("Functions", "Update", {
                    "name": "target", "archive_attached": True, "keep_environment": True},
                    [descriptor])
            finally:
                os.close(descriptor)
    except (ttrpc.RpcError, OSError) as error:
        return error
    return None


def check_state(server, point, outcome):
    """Whole and old, or whole and new; new when the answer said so."""
    present = {f["name"] for f in server.call("Functions", "List")["functions"]}
    what = point.split("-")[0]
    if what == "deploy":
        assert server.result("target") == "old"
        if "other" in present:
            assert server.result("other") == "new"
        else:
            assert outcome is not None
            server.deploy("other", {"app.py": NEW})
            assert server.result("other") == "new"
    elif what == "update":
        assert server.result("target") in (("old", "new") if outcome else ("new",))
    elif "target" in present:
        assert outcome is not None and server.result("target") == "old"
    assert not list((server.state / "staging").iterdir())


@pytest.mark.parametrize("point", POINTS)
def test_death_at_the_point(place, point):
    place.start({"SPORE_FAULT": f"{point}:kill"})
    outcome = act(place, point)
    assert place.process.wait(60) == -signal.SIGKILL
    place.start()
    check_state(place, point, outcome)


@pytest.mark.parametrize("point", POINTS)
def test_error_at_the_point(place, point):
    place.start({"SPORE_FAULT": f"{point}:fail"})
    outcome = act(place, point)
    assert isinstance(outcome, ttrpc.RpcError) and outcome.code == ttrpc.CODES["INTERNAL"]
    assert place.process.poll() is None
    # The daemon that met the error goes on, and so does the next one.
    before = {f["name"]: f["version"] for f in place.call("Functions", "List")["functions"]}
    assert place.stop() == 0
    place.start()
    after = {f["name"]: f["version"] for f in place.call("Functions", "List")["functions"]}
    assert before == after
    check_state(place, point, outcome)
