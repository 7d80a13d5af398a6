"""Answers with `bytes` characters."""


def run(event):
    return "x" * event["bytes"]
