"""Reads a scrape on standard input with Prometheus' own client library, and writes what it understood as JSON.

The one argument is the Content-Type that the scrape came with.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

kind = sys.argv[1]
if kind.startswith("application/openmetrics-text; version=1.0.0"):
    read = read_openmetrics
elif kind.startswith("text/plain; version=0.0.4"):
    read = read_text
else:
    sys.exit(f"no format of Prometheus: {kind}")

families, samples = {}, []
for family in read(sys.stdin.read()):
    assert family.name not in families, f"{family.name} comes twice"
    assert family.documentation, f"{family.name} is not explained"
    families[family.name] = family.type
    for sample in family.samples:
        samples.append([sample.name, sample.labels, sample.value])
seen = {json.dumps(sample[:2], sort_keys=True) for sample in samples}
assert len(seen) == len(samples), "some series come twice"
json.dump({"families": families, "samples": samples}, sys.stdout)
