#!/usr/bin/python3
"""Sums up JUnit files: a line each, then `N passed, N failed, N skipped` for all of them.

usage: summary.py RESULTS_DIR SUITE...

For each SUITE it reads SUITE.xml, which must be there, and SUITE.residue.xml. Exit status 0 when
everything passed and nothing was skipped.
"""

import os
import sys
import xml.etree.ElementTree as ET


def count(path):
    """Returns [passed, failed, skipped, seconds]; a file that cannot be read is one failure."""
    totals = [0, 0, 0, 0.0]
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return [0, 1, 0, 0.0]
    for case in cases:
        bad = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        totals[1 if bad else 2 if skipped else 0] += 1
        totals[3] += float(case.get("time") or 0)
    # A suite in which nothing ran shows nothing.
    return totals if cases else [0, 1, 0, 0.0]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    directory, suites = sys.argv[1], sys.argv[2:]
    total = [0, 0, 0]
    for suite in suites:
        files = [os.path.join(directory, suite + ".xml")]
        residue = os.path.join(directory, suite + ".residue.xml")
        if os.path.exists(residue):
            files.append(residue)
        rows = [count(path) for path in files]
        row = [sum(column) for column in zip(*rows)]
        print("%-10s %4d passed, %d failed, %d skipped  (%.0f s in tests)" % (suite, *row))
        total = [a + b for a, b in zip(total, row)]
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or total[2] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
