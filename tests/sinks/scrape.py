"""Scrapes a daemon with the reference parser of OpenMetrics: `scrape.py URL [NAME>=VALUE...]`.

Prints every sample as JSON, {"name{label=\"value\",...}": value}, once each NAME (the sum of its samples) has got to its
VALUE, and fails when that takes longer than twenty seconds.
"""

import json
import sys
import time
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

URL, WANTED = sys.argv[1], [word.split(">=") for word in sys.argv[2:]]
FORMAT = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def scrape():
    with urllib.request.urlopen(URL, timeout=10) as answer:
        assert answer.headers["content-type"] == FORMAT, answer.headers
        text = answer.read().decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in samples, name
            samples[name] = sample.value
    return samples


def total(samples, name):
    return sum(value for key, value in samples.items() if key.split("{")[0] == name)


deadline = time.monotonic() + 20
while True:
    samples = scrape()
    if all(total(samples, name) >= float(value) for name, value in WANTED):
        break
    if time.monotonic() > deadline:
        sys.exit(f"{WANTED} are not reached: {json.dumps(samples)}")
    time.sleep(0.1)
print(json.dumps(samples))
