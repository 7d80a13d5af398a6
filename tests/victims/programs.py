"""Runs the C programs that came with the function: the filter must hold after an exec."""
from attempts import native


def run(event):
    return {name: native(name) for name in event["programs"]}
