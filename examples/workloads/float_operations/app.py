"""Floating-point loops: sums of sin, cos and sqrt.

Event: {"n": int}. Answer: the three sums.
"""
import math


def handler(event, context):
    n = int(event.get("n", 100000))
    sines = cosines = roots = 0.0
    for i in range(n):
        sines += math.sin(i)
        cosines += math.cos(i)
        roots += math.sqrt(i)
    return {"n": n, "sin": sines, "cos": cosines, "sqrt": roots}
