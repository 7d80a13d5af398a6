"""spore-bench works and says what it measured. No time is judged here."""
import json
import subprocess

import daemon


def bench(*arguments):
    return subprocess.run([daemon.find_program("spore-bench"), *arguments], capture_output=True,
                          text=True, timeout=900, env=daemon.environment())


def chrooted():
    return subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0


def test_quick_run_against_a_running_daemon(spored):
    done = bench("--quick", "--json", "--socket", str(spored.socket))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = [row["name"] for row in report["rows"]]
    # In a chroot the kernel refuses peers what they start with: a user namespace
    # (user_namespaces(7)), or pivot_root. The report then has to name them.
    left_out = {line.split()[0].strip(":") for line in report["left_out"]}
    assert left_out <= ({"bwrap", "runc"} if chrooted() else set()), report["left_out"]
    for word in {"relay", "fork alone", "fresh sandbox", "reused", "python3", "bwrap", "runc", "fresh node",
                 "fresh java", "loaded ahead", "node itself", "java itself"} - left_out:
        assert any(word in name for name in names), names
    assert all(row["p50_us"] > 0 and row["p99_us"] >= row["p50_us"] for row in report["rows"])
    many = report["concurrent"]
    assert {row["clients"] for row in many} == {1, 8}
    assert {row["what"] for row in many} == {"Spore: fresh sandbox", *({"runc run"} - {
        name + " run" for name in left_out})}
    assert all(row["failed"] == 0 and row["answered"] > 0 for row in many), many
    assert all(row["p999_us"] >= row["p99_us"] >= row["p50_us"] > 0 for row in many)
    assert all(len(row["percentiles_us"]) == 101 for row in report["rows"])
    assert [row["instances"] for row in report["memory"]] == [1, 2, 4]
    assert all(row["pss_bytes"] > 0 and row["daemon_pss_bytes"] > 0 for row in report["memory"])
    assert spored.call("Functions", "List")["functions"] == []


def test_table(spored):
    done = bench("--quick", "--socket", str(spored.socket), "--no-peers", "--no-languages")
    assert done.returncode == 0, done.stderr
    for word in ("RATIO", "p50", "p99", "x relay", "AT ONCE", "MEMORY"):
        assert word in done.stdout, done.stdout


def test_failures_are_told(spored, tmp_path):
    done = bench("--socket", str(tmp_path / "none"))
    assert done.returncode == 1 and "none" in done.stderr
    assert bench("--rounds", "0").returncode == 2
