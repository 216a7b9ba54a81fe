"""Prints the bill of materials of the program: every crate that is linked into it or builds it, as CycloneDX 1.5.

    python3 config/release/sbom.py TARGET

Crates that only tests need are left out. Checksums are those of Cargo.lock. The same commit gives the same text:
SOURCE_DATE_EPOCH is the time that it names.
"""

import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    with open("Cargo.lock", "rb") as lock:
        packages = tomllib.load(lock)["package"]
    return {(one["name"], one["version"]): one.get("checksum") for one in packages}


def reachable(root, edges):
    seen, waiting = set(), [root]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting.extend(edges[one])
    return seen


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum, kind):
    described = {
        "type": kind,
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package.get("description"):
        described["description"] = " ".join(package["description"].split())
    if package.get("license"):
        # Old crates write MIT/Apache-2.0.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def main():
    target = sys.argv[1]
    facts, sums = metadata(target), checksums()
    packages = {package["id"]: package for package in facts["packages"]}
    edges = {
        node["id"]: [
            dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
        ]
        for node in facts["resolve"]["nodes"]
    }
    root = facts["resolve"]["root"]
    ids = sorted(reachable(root, edges), key=lambda one: purl(packages[one]))
    described = {
        one: component(packages[one], sums.get((packages[one]["name"], packages[one]["version"])),
                       "application" if one == root else "library")
        for one in ids
    }
    time = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": described[root],
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [described[one] for one in ids if one != root],
        "dependencies": [
            {"ref": purl(packages[one]), "dependsOn": sorted({purl(packages[dep]) for dep in edges[one]})}
            for one in ids
        ],
    }
    content = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    json.dump(bill, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
