#!/usr/bin/env python3
"""Metrics as a strict reader sees them, by PyPI's prometheus_client.

    tests/peers/metrics.py HOST:PORT

Asks for both formats, parses each whole, and prints for each how many families and samples there are,
then every name of a sample, sorted: both formats must have the same.
"""

import sys
import urllib.request

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

FORMATS = {
    "classic": ("text/plain;version=0.0.4", parser),
    "open": ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", open_parser),
}


def main():
    for name, (accept, reader) in FORMATS.items():
        url = f"http://{sys.argv[1]}/metrics"
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            kind = answer.headers["Content-Type"]
            text = answer.read().decode()
        families = list(reader.text_string_to_metric_families(text))
        samples = [sample for family in families for sample in family.samples]
        names = sorted({sample.name for sample in samples})
        print(name, kind, len(families) > 0, len(samples), " ".join(names), sep="|")


main()
