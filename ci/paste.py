#!/usr/bin/env python3
"""Every Rust example of the README, the guide and the crates' documentation compiles as a reader pastes it.

An example is what a reader sees: without rustdoc's hidden lines. One that has no `main` is the body of a function
that returns `Result<(), Box<dyn std::error::Error>>`. It is compiled in a crate outside of the workspace that depends
on `genpool` alone, with the features that a comment at its top lists, and the dependencies, as in

    // features = ["dma", "serde"]
    // dependencies = { serde_json = "1" }

The pages of `genpool::dma`, `genpool::devm` and `genpool::observe` take the feature of that name without saying so in
each example. Prints what does not compile, with the place where it is written.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "paste"
# The crates whose pages a user of the facade reads, and the feature that enables each.
CRATES = {".": [], "genpool-core": [], "genpool-algos": [], "genpool-dma": ["dma"],
          "genpool-devm": ["devm"], "genpool-observe": ["observe"]}
FENCE = re.compile(r"```(?P<info>.*)$")
RUST = {"", "rust", "no_run", "should_panic", "edition2024"}
# Code that no reader would write.
BROKEN = "let pool = genpool_core::Pool::new(12)?;\n"

Example = collections.namedtuple("Example", "name place features dependencies code")


def documentation(path):
    """The lines of documentation of a file and their numbers; None ends a text."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if path.suffix == ".md":
            yield number, line
            continue
        found = re.match(r"\s*//[/!] ?(.*)", line)
        yield number, found and found[1]


def blocks(path):
    """The fenced blocks of Rust in a file: the line of the fence, and the lines as written."""
    began, rust, block = None, False, []
    for number, line in documentation(path):
        if line is None:
            began = None
            continue
        fence = FENCE.match(line.strip())
        if fence and began is None:
            began, rust, block = number, set(fence["info"].split(",")) <= RUST, []
        elif fence:
            if rust:
                yield began, block
            began = None
        elif began is not None:
            block.append(line)


def visible(lines):
    """What rustdoc shows of a block."""
    for line in lines:
        text = line.strip()
        if text == "#" or text.startswith("# "):
            continue
        yield line.replace("##", "#", 1) if text.startswith("##") else line


def examples():
    files = [(ROOT / "README.md", [])]
    for crate, features in CRATES.items():
        files += [(path, features) for path in sorted((ROOT / crate / "src").rglob("*.rs"))]
    for path, implied in files:
        place = path.relative_to(ROOT)
        for number, lines in blocks(path):
            shown = list(visible(lines)) if path.suffix == ".rs" else lines
            if any("$" in line for line in shown):
                continue  # an item of a macro, whose meaning is documented at the call
            header = [line[3:] for line in shown[:2] if re.match(r"// (features|dependencies) = ", line)]
            said = tomllib.loads("\n".join(header))
            features = sorted(set(implied) | set(said.get("features", [])))
            name = re.sub(r"\W", "_", f"{place.with_suffix('')}_{number}")
            code = "\n".join(shown) + "\n"
            yield Example(name, f"{place}:{number}", tuple(features), said.get("dependencies", {}), code)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def crate(name, features, given):
    """Writes the crate of a set of features, with a module for each example."""
    folder = TARGET / "crates" / name
    dependencies = {}
    for example in given:
        dependencies.update(example.dependencies)
    lines = [f"{key} = {json.dumps(version)}" for key, version in sorted(dependencies.items())]
    write(
        folder / "Cargo.toml",
        f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n'
        f"genpool = {{ path = {json.dumps(str(ROOT))}, features = {json.dumps(features)} }}\n" + "\n".join(lines) + "\n",
    )
    for example in given:
        code = example.code
        if not re.search(r"^(async )?fn main\(", code, re.M):
            code = f"fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{code};Ok(())\n}}\n"
        write(folder / "src" / f"{example.name}.rs", code)
    modules = "".join(f"mod {example.name};\n" for example in given)
    write(folder / "src/main.rs", f"#![allow(unused, redundant_semicolons, path_statements)]\n{modules}fn main() {{}}\n")


def check(name):
    """Compiles a crate; the errors, each with the example that it is in."""
    command = ["cargo", "check", "--quiet", "--message-format=json", "-p", name]
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET / "target")}
    run = subprocess.run(command, cwd=TARGET / "crates", env=environment, capture_output=True, text=True)
    errors = []
    for line in run.stdout.splitlines():
        entry = json.loads(line)
        if entry["reason"] == "compiler-message" and entry["message"]["level"] == "error":
            spans = entry["message"]["spans"]
            errors.append((pathlib.Path(spans[0]["file_name"]).stem if spans else "", entry["message"]["rendered"]))
    if run.returncode != 0 and not errors:
        sys.exit(f"paste: cargo check -p {name}: {run.stderr}")
    return errors


def main():
    sets = collections.defaultdict(list)
    total = 0
    for example in examples():
        sets[example.features].append(example)
        total += 1
    crates = {"paste-" + "-".join(features or ["plain"]): (list(features), given) for features, given in sets.items()}
    crates["paste-control"] = ([], [Example("broken", "control", (), {}, BROKEN)])
    shutil.rmtree(TARGET / "crates", ignore_errors=True)
    for name, (features, given) in crates.items():
        crate(name, features, given)
    write(TARGET / "crates/Cargo.toml", f'[workspace]\nresolver = "3"\nmembers = {json.dumps(sorted(crates))}\n')
    shutil.copy(ROOT / "Cargo.lock", TARGET / "crates/Cargo.lock")

    failed = set()
    for name, (_, given) in crates.items():
        places = {example.name: example.place for example in given}
        for example, error in check(name):
            if name == "paste-control":
                failed.add(name)
                continue
            failed.add(places.get(example, name))
            print(f"{places.get(example, name)}: does not compile as pasted:\n{error}")
    if "paste-control" not in failed:
        sys.exit("paste: an example that names a crate of the workspace compiles, so the check finds nothing")
    failed.remove("paste-control")
    if failed:
        print("\n".join(sorted(failed)))
        sys.exit(f"paste: {len(failed)} of {total} examples do not compile as pasted")
    print(f"paste: {total} examples in {len(crates) - 1} sets of features: ok")


main()
