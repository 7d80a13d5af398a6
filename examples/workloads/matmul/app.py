"""Matrix product with numpy.

Event: {"n": int, "seed": int}. Answer: the product's trace and the largest deviation from the
same product row by row.
"""
import numpy


def handler(event, context):
    n = int(event.get("n", 200))
    generator = numpy.random.default_rng(int(event.get("seed", 1)))
    a, b = generator.random((n, n)), generator.random((n, n))
    product = a @ b
    row = n // 2
    deviation = numpy.abs(product[row] - (a[row][:, None] * b).sum(axis=0)).max()
    return {"n": n, "trace": float(product.trace()), "deviation": float(deviation)}
