#!/usr/bin/env python3
"""What `cargo metadata` can tell of a release: each dependency comes from the registry and under a
licence that deny.toml allows; each package that is published has what its page shows, and its licences
with it; the others say that they are not."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Programs and models of the workspace's own; the fuzz targets are a workspace of their own.
NOT_PUBLISHED = {"benches", "loom-tests", "proofs", "qemu-tests"}


def allowed(licence, allow):
    """Whether a licence expression can be met by allowed licences alone. `/` is an old way to say OR."""
    words = re.findall(r"[()]|[^\s()/]+|/", licence)
    python = []
    while words:
        word = words.pop(0)
        if word in "()":
            python.append(word)
        elif word in ("OR", "/", "AND"):
            python.append("and" if word == "AND" else "or")
        else:
            if words[:1] == ["WITH"]:
                word = " ".join([word, words.pop(0), words.pop(0)])
            python.append(str(word in allow))
    # Nothing but parentheses, and, or, True and False.
    return eval(" ".join(python), {"__builtins__": {}})


def complaints(packages, members, allow):
    for package in packages:
        name, licence = package["name"], package["license"]
        if package["id"] not in members:
            if not (package["source"] or "").startswith("registry+"):
                yield f"{name} comes from {package['source'] or package['manifest_path']}"
            if not licence or not allowed(licence, allow):
                yield f"{name}: its licence is {licence}"
            continue
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
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    allow = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    found = list(complaints(metadata["packages"], set(metadata["workspace_members"]), allow))
    if found:
        sys.exit("\n".join(f"packages: {complaint}" for complaint in found))
    print(f"packages: {len(metadata['packages'])} looked at")


main()
