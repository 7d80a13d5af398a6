"""Raises what `what` names."""


class Peculiar(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


def run(event):
    if event["what"] == "base":
        raise KeyboardInterrupt("from the handler")
    if event["what"] == "peculiar":
        raise Peculiar()
    if event["what"] == "recursion":
        return run(event)
    if event["what"] == "long":
        raise ValueError("x" * (1 << 22))
    raise ValueError("no such thing: \u2603")
