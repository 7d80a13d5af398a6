"""The hostile programs again, started by a Java function, whose sandbox they share."""
import io
import zipfile

import daemon
import java
import pytest
# Every test there takes its victims from the fixture below.
from test_isolation import *  # noqa: F403
from test_isolation import assert_proc_is_of_the_sandbox

# These ask about Python functions, not about victims.
del test_every_sandbox_has_an_identity_of_its_own  # noqa: F821
del test_neighbour_cannot_be_found_signalled_or_reached  # noqa: F821
del test_no_instance_decides_what_code_others_run  # noqa: F821


@pytest.fixture(scope="module")
def victims(spored, victim_archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("java") / "classes"
    out.mkdir()
    java.compile_into(out, [java.SOURCES / "probe/Faults.java"])
    with zipfile.ZipFile(io.BytesIO(victim_archive)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files.update({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.class")})
    spored.deploy("victims", daemon.make_zip(files), "probe.Faults::runsVictims",
                  "ISOLATION_INVOCATION", {"memory_bytes": 256 << 20, "timeout_ms": 60000}, "java")
    return lambda victim, **event: spored.result("victims", {"victim": victim, **event})


def test_proc_shows_the_sandbox_alone(victims):
    found = victims("proc_view")
    # The init, the JVM, and what it has started by way of jspawnhelper.
    assert_proc_is_of_the_sandbox(found, 4)


def test_signal_to_everybody_stays_inside(spored, victims):
    spored.deploy("bystander", {"app.py": "def handler(e, c):\n    return 1\n"})
    before = spored.invoke("bystander")
    error = spored.invoke("victims", {"victim": "everybody"})["error"]
    # A JVM ends in good order when it is told to, which may take longer than the answer.
    assert error is None or error["death"]["exit_code"] == 128 + 15, error
    assert spored.invoke("bystander")["instance_id"] == before["instance_id"]
