"""Linpack: solves a dense system of n equations with numpy.

Event: {"n": int, "seed": int}. Answer: the largest residual and the rate in MFLOPS.
"""
import time

import numpy


def handler(event, context):
    n = int(event.get("n", 200))
    generator = numpy.random.default_rng(int(event.get("seed", 1)))
    a = generator.random((n, n)) - 0.5
    b = a.sum(axis=1)  # so that the solution is all ones
    start = time.perf_counter()
    x = numpy.linalg.solve(a, b)
    seconds = time.perf_counter() - start
    operations = 2.0 * n**3 / 3.0 + 2.0 * n**2
    return {
        "n": n,
        "residual": float(numpy.abs(a @ x - b).max()),
        "error": float(numpy.abs(x - 1.0).max()),
        "mflops": operations / seconds / 1e6 if seconds else 0.0,
    }
