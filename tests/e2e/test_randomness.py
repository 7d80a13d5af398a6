"""Siblings of one zygote draw different "random" values from every source."""
import concurrent.futures

import daemon
import pytest


def draw(spored, name, count, event):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: spored.result(name, event), range(count)))


@pytest.fixture(scope="module")
def drawn(spored, victim_archive):
    """What 12 siblings drew, all of one zygote."""
    spored.deploy("dice", victim_archive, isolation="ISOLATION_INVOCATION")
    answers = draw(spored, "dice", 12, {"victim": "randomness"})
    assert len([i for i in spored.call("System", "Info")["images"] if i["forks"]]) == 1
    return answers


@pytest.mark.parametrize("source", [
    "random", "random instance", "system random", "shuffle", "secrets", "uuid4", "uuid1", "ssl",
    "urandom", "getrandom", "temporary name", "temporary file"])
def test_siblings_differ(drawn, source):
    values = [str(answer["drawn"][source]) for answer in drawn]
    assert len(set(values)) == len(values), values


@pytest.mark.parametrize("source", ["numpy legacy", "numpy legacy double", "numpy generator",
                                    "numpy state", "random", "secrets"])
def test_siblings_with_numpy_preloaded_differ(spored, numpy_drawn, source):
    values = [str(answer["drawn"][source]) for answer in numpy_drawn]
    assert len(set(values)) == len(values), values


@pytest.fixture(scope="module")
def numpy_drawn(spored, victim_archive):
    spored.deploy("numpy-dice", victim_archive, isolation="ISOLATION_INVOCATION", image="python-numpy",
                  limits={"memory_bytes": 256 << 20})
    return draw(spored, "numpy-dice", 8, {"victim": "randomness", "numpy": True})


def test_children_of_a_sandbox_differ_from_it(spored):
    code = ("import os, random, secrets\n"
            "def handler(e, c):\n"
            "    r, w = os.pipe()\n"
            "    if os.fork() == 0:\n"
            "        os.write(w, str(random.getrandbits(64)).encode()); os._exit(0)\n"
            "    os.close(w); os.wait()\n"
            "    return [os.read(r, 99).decode(), str(random.getrandbits(64))]\n")
    spored.deploy("parent", {"app.py": code})
    first, second = spored.result("parent")
    assert first != second


def test_hash_seed_is_the_zygotes_and_changes_with_it(spored, drawn, victim_archive):
    """Forks cannot change str's hash seed (docs/threat-model.md); another zygote has another."""
    here = {answer["hash"] for answer in drawn}
    assert len(here) == 1
    other = daemon.Spored()
    try:
        other.start()
        other.deploy("dice", victim_archive)
        assert other.result("dice", {"victim": "randomness"})["hash"] not in here
    finally:
        other.stop()
        other.remove()


def test_fixed_seeds_still_work(spored):
    code = "import random\ndef handler(e, c):\n    random.seed(e)\n    return random.random()\n"
    spored.deploy("seeded", {"app.py": code}, isolation="ISOLATION_INVOCATION")
    assert spored.result("seeded", 7) == spored.result("seeded", 7)
