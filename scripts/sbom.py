#!/usr/bin/env python3
"""A software bill of materials, CycloneDX 1.5 as JSON, of what a build of `stopwatt` holds.

    sbom.py [CARGO-TREE-ARGUMENTS…] > stopwatt.cdx.json      for instance --features object-store

Names, versions and hashes are those of Cargo.lock, licences those of the crates. Nothing in it depends on the time.
"""

import json
import re
import subprocess
import sys
import tomllib

TARGET = "x86_64-unknown-linux-gnu"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def main():
    tree = cargo("tree", "--locked", "-p", "stopwatt", "-e", "normal,build", "--prefix", "none", "--no-dedupe",
                 "--target", TARGET, *sys.argv[1:])  # fmt: skip
    built = set(re.findall(r"^(\S+) v(\S+)", tree, re.M))
    with open("Cargo.lock", "rb") as file:
        hashes = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    components, program = [], None
    for package in json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]:
        name, version = package["name"], package["version"]
        if (name, version) not in built:
            continue
        purl = f"pkg:cargo/{name}@{version}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        if package["license"]:
            # Old manifests write a slash for "or".
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if hashes.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": hashes[name, version]}]
        if package["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        if name == "stopwatt":
            program = component | {"type": "application"}
        else:
            components.append(component)
    components.sort(key=lambda c: (c["name"], c["version"]))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program},
        "components": components,
    }
    json.dump(document, sys.stdout, indent=2)
    print()


main()
