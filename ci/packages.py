#!/usr/bin/env python3
"""What `cargo metadata` can tell of a release: each package that is published has what its page shows, and
its licences with it; the others say that they are not."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Programs and models for the workspace itself. The fuzz targets are a workspace of their own.
NOT_PUBLISHED = {"benches", "loom-tests", "linearizability", "qemu-tests", "genpool-scripts"}


def complaints(packages):
    for package in packages:
        name = package["name"]
        if package["publish"] == []:
            if name not in NOT_PUBLISHED:
                yield f"{name} is not published, and not known to ci/packages.py"
            continue
        if name in NOT_PUBLISHED:
            yield f"{name} would be published"
        needed = ["description", "documentation", "license", "readme", "rust_version", "keywords", "categories"]
        yield from (f"{name} has no {key}" for key in needed if not package[key])
        folder = pathlib.Path(package["manifest_path"]).parent
        files = ["LICENSE-MIT", "LICENSE-APACHE"]
        yield from (f"{name} has no {file}" for file in files if not (folder / file).is_file())
        if package["features"]:
            docs = (package["metadata"] or {}).get("docs", {}).get("rs", {})
            if not docs.get("all-features") or docs.get("rustdoc-args") != ["--cfg", "docsrs"]:
                yield f"{name} has features, and docs.rs would not show all of them"


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    found = list(complaints(metadata["packages"]))
    if found:
        sys.exit("\n".join(f"packages: {complaint}" for complaint in found))
    print(f"packages: {len(metadata['packages'])} looked at")


main()
