"""The example functions run, and answer what the same code answers outside."""
import hashlib
import math

import daemon
import pytest

WORKLOADS = daemon.ROOT / "examples/workloads"
IMAGES = {"linpack": "python-numpy", "matmul": "python-numpy", "image": "python-imaging",
          "dynamic_html": "python-web", "chameleon_table": "python-web", "graph": "python-graph",
          "aes": "python-crypto"}


def aes(answer):
    assert answer["length"] == 2000 and answer["correct"]
    assert len(answer["sha256"]) == 64


def hashing(answer):
    chain = b"spore"
    for _ in range(100):
        chain = hashlib.sha256(chain).digest()
    assert answer["sha256"] == chain.hex() and answer["distinct"]


def graph(answer):
    assert answer["vertices"] == 500 and answer["reached"] == 500
    assert math.isclose(answer["rank_sum"], 1.0)
    assert answer["tree_edges"] == 499 and answer["tree_connected"]


def compression(answer):
    assert answer["bytes"] == 200000
    assert all(answer[kind]["same"] and answer[kind]["packed"] < 20000
               for kind in ("zlib", "bz2", "lzma"))


def sqlite(answer):
    assert answer == {"total": sum(i * i for i in range(2000)), "kinds": 10, "deleted": 200,
                      "left": 1800, "sound": "ok"}


def image(answer):
    for corner in ("corner", "flipped_corner", "rotated_corner"):
        assert answer[corner] == [255, 0, 0]
    assert answer["png"]["size"] == answer["jpeg"]["size"] == [32, 32] and answer["grey"] == "L"


def regex(answer):
    assert answer == {"matched": 400, "posts": 80, "server_errors": 20, "addresses": 256,
                      "masked": "##.#.#.# "}


def dynamic_html(answer):
    assert answer["rows"] == 300 and "Welcome &lt;ada&gt;!" in answer["page"]


CASES = {
    "dynamic_html": ({"username": "<ada>", "count": 300, "page": True}, dynamic_html),
    "chameleon_table": ({"rows": 20, "columns": 5},
                        lambda a: a["cells"] == 100 and a["last"] or pytest.fail(str(a))),
    "float_operations": ({"n": 1000}, lambda a: math.isclose(
        a["sqrt"], sum(map(math.sqrt, range(1000)))) or pytest.fail(str(a))),
    "linpack": ({"n": 100}, lambda a: a["error"] < 1e-8 or pytest.fail(str(a))),
    "matmul": ({"n": 100}, lambda a: a["deviation"] < 1e-9 or pytest.fail(str(a))),
    "aes": ({"length": 2000, "rounds": 1}, aes),
    "image": ({"size": 128}, image),
    "compression": ({"bytes": 200000}, compression),
    "graph": ({"size": 500}, graph),
    "sqlite": ({"rows": 2000}, sqlite),
    "json_round_trip": ({"entries": 200, "rounds": 2},
                        lambda a: a["same"] or pytest.fail(str(a))),
    "regex": ({"lines": 400}, regex),
    "hashing": ({"rounds": 100}, hashing),
}


def test_every_workload_has_a_case():
    assert {path.name for path in WORKLOADS.iterdir()} == set(CASES)


@pytest.mark.parametrize("workload", CASES)
def test_workload(spored, workload):
    """In the plain image, and then in the one that has its libraries loaded already."""
    event, check = CASES[workload]
    limits = {"memory_bytes": 256 << 20, "timeout_ms": 60000}
    spored.deploy(workload, WORKLOADS / workload, limits=limits)
    for start in ("START_KIND_FORK", "START_KIND_WARM"):
        response = spored.invoke(workload, event)
        assert response["error"] is None, response["error"]
        assert response["start_kind"] == start
        check(response["result"])
    if workload in IMAGES:
        spored.deploy(f"{workload}-preloaded", WORKLOADS / workload, limits=limits,
                      image=IMAGES[workload])
        check(spored.result(f"{workload}-preloaded", event))


def test_images_preload_numpy(spored):
    images = {found["name"]: found for found in spored.call("System", "Info")["images"]}
    assert "numpy" in images["python-numpy"]["preload"]
    code = ("import sys\nbefore = 'numpy' in sys.modules\n"
            "def handler(e, c):\n    import numpy\n    return [before, int(numpy.arange(4).sum())]\n")
    spored.deploy("preloaded", {"app.py": code}, image="python-numpy")
    assert spored.result("preloaded") == [True, 6]


def test_hello_example(spored):
    spored.deploy("hello", daemon.ROOT / "examples/hello")
    assert spored.result("hello", {"name": "ada"}) == {"message": "hello, ada"}
