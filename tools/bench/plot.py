#!/usr/bin/python3
"""Draws what was measured: SVG files from the JSON of spore-bench, of heap_sizes and of restores.py.

    tools/bench/plot.py FILE... OUTPUT-DIRECTORY

Of each file is seen what it is: what `spore-bench --json`, `heap_sizes` (examples/sfork; HEAP.jsonl) or
`tools/bench/restores.py` has printed.
Needs python3-matplotlib (Debian).
"""
import json
import pathlib
import re
import sys

try:
    import matplotlib
except ImportError:
    sys.exit("plot.py: matplotlib is missing; apt-get install python3-matplotlib")
matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "spore", "figure.figsize": (8, 4.5), "axes.grid": True,
                            "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt  # noqa: E402


def save(figure, output, name):
    figure.tight_layout()
    path = output / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    # Who drew it, and addresses of vocabularies, are nobody's concern.
    path.write_text(re.sub(r"<metadata>.*?</metadata>|<!DOCTYPE.*?>", "", path.read_text(), flags=re.S))
    print(path)


def plot_latency(report, output):
    """The distribution of each row that starts something isolated, or its language."""
    figure, axes = plt.subplots()
    for row in report["rows"]:
        if "fork alone" in row["name"]:
            continue
        style = "-" if row["name"].startswith("Spore") else "--"
        axes.plot([us / 1000 for us in row["percentiles_us"]], range(101), style, label=row["name"])
    axes.set(xscale="log", xlabel="milliseconds, request to answer", ylabel="percent of samples")
    axes.legend(fontsize="x-small")
    save(figure, output, "latency")


def plot_clients(report, output):
    """How many a second, and the latency of each, as clients become more."""
    figure, (rate, latency) = plt.subplots(1, 2)
    for what in dict.fromkeys(row["what"] for row in report["concurrent"]):
        rows = [row for row in report["concurrent"] if row["what"] == what]
        clients = [row["clients"] for row in rows]
        rate.plot(clients, [row["per_second"] for row in rows], "o-", label=what)
        for key, style in (("p50_us", "o-"), ("p99_us", "s--"), ("p999_us", "^:")):
            latency.plot(clients, [row[key] / 1000 for row in rows], style,
                         label=f"{what}, {key[:-3]}")
    rate.set(xscale="log", yscale="log", xlabel="clients", ylabel="fresh sandboxes a second")
    latency.set(xscale="log", yscale="log", xlabel="clients", ylabel="milliseconds")
    for axes in (rate, latency):
        axes.legend(fontsize="x-small")
    save(figure, output, "clients")


def plot_memory(report, output):
    """What so many idle instances hold."""
    figure, axes = plt.subplots()
    rows = report["memory"]
    counts = [row["instances"] for row in rows]
    for key, label in (("pss_bytes", "user memory (PSS)"), ("private_bytes", "of it mapped by no other"),
                       ("kernel_bytes", "kernel memory (cgroup)")):
        axes.plot(counts, [row["instances"] * row[key] / 2**20 for row in rows], "o-",
                  label=label)
    axes.set(xlabel="idle instances", ylabel="MiB, all of them", ylim=(0, None))
    axes.legend()
    save(figure, output, "memory")


def plot_bursts(rows, output):
    """What a burst waits for, without and with spare sandboxes."""
    figure, axes = plt.subplots()
    for spare in dict.fromkeys(row["spare"] for row in rows):
        of = [row for row in rows if row["spare"] == spare]
        for key, style in (("p50_us", "o-"), ("p99_us", "s--"), ("max_us", "^:")):
            axes.plot([row["at_once"] for row in of], [row[key] / 1000 for row in of], style,
                      label=f"{spare} spare, {key[:-3]}")
    axes.set(xlabel="requests at once", ylabel="milliseconds, request to answer", ylim=(0, None))
    axes.legend()
    save(figure, output, "bursts")


def plot_heap(rows, output):
    """What a copy costs as the zygote's heap grows."""
    figure, axes = plt.subplots()
    for flat, label in ((False, "as it is"), (True, "flat")):
        of = [row for row in rows if row["flat"] == flat]
        axes.plot([row["heap_mib"] for row in of], [row["p50_us"] / 1000 for row in of], "o-",
                  label=f"{label}, p50")
        axes.plot([row["heap_mib"] for row in of], [row["p99_us"] / 1000 for row in of], "s--",
                  label=f"{label}, p99")
    axes.set(xscale="log", yscale="log", xlabel="heap of the zygote, MiB",
             ylabel="milliseconds, order to the copy's first line")
    axes.legend()
    save(figure, output, "heap")


def bars(axes, names, series):
    """One group of bars a name; `series`: a label and the summaries, in the order of the names."""
    width = 0.8 / len(series)
    for number, (label, summaries) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(names))]
        middle = [summary["p50_ms"] for summary in summaries]
        axes.bar(places, middle, width, label=label, yerr=[
            [summary["p50_ms"] - summary["best_ms"] for summary in summaries],
            [summary["worst_ms"] - summary["p50_ms"] for summary in summaries]], capsize=2)
    axes.set_xticks(range(len(names)), names)
    axes.set(yscale="log", ylabel="milliseconds, median, best and worst")


def plot_restores(report, output):
    """Each part of restores.py has its own file."""
    if "criu" in report:
        figure, axes = plt.subplots()
        rows = report["criu"]
        bars(axes, [row["image"] for row in rows], {
            "loaded": [row["cold"] for row in rows], "restored, from the request on": [row["restore"] for row in rows],
            "of it CRIU": [row["criu"] for row in rows], "criu restore of the bare runtime": [row["bare"] for row in rows]})
        axes.legend(fontsize="x-small")
        save(figure, output, "restores")
    if "restart" in report:
        figure, axes = plt.subplots()
        rows = report["restart"]
        bars(axes, [row["function"].removeprefix("f-") for row in rows],
             {"by loading": [row["load"] for row in rows], "by restore": [row["restore"] for row in rows]})
        axes.legend(fontsize="x-small")
        save(figure, output, "restart")


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    output = pathlib.Path(arguments[-1])
    output.mkdir(parents=True, exist_ok=True)
    for path in map(pathlib.Path, arguments[:-1]):
        if path.suffix == ".jsonl":
            plot_heap([json.loads(line) for line in path.read_text().splitlines()], output)
            continue
        report = json.loads(path.read_text())
        if "bench" in report:
            plot_restores(report, output)
            continue
        plot_latency(report, output)
        if report["concurrent"]:
            plot_clients(report, output)
        if report["memory"]:
            plot_memory(report, output)
        if report.get("heap"):
            plot_heap(report["heap"], output)
        if report.get("bursts"):
            plot_bursts(report["bursts"], output)


if __name__ == "__main__":
    main(sys.argv[1:])
