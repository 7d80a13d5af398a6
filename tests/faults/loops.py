"""Computes without end."""


def run(event):
    while True:
        pass
