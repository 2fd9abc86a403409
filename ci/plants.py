#!/usr/bin/env python3
"""Plants the bugs of verify/plants in a copy of the tree and requires that each is noticed.

    ci/plants.py [--check | --list] [NAME...]

Every file of verify/plants is a patch that adds one bug behind a switch, `planted("NAME")`, which is on where the
environment says GENPOOL_PLANT=NAME. All patches go into one copy, so that one build serves all. A patch names the
checks that must notice its bug, a line each:

    Caught by: test PACKAGE TARGET FILTER    a test target (or `lib`, or `bin`) of a package
    Caught by: loom FILTER                   a model of loom-tests
    Caught by: shuttle FILTER                a scene of verify/linearizability, in shuttle's schedules

First each check runs with every bug switched off and must not fail: a patch that changes more than its switch would
be noticed for the wrong reason. (A model that explores for longer is cut short; `ci/loom.sh` explores it whole.) Then
each bug is switched on, and each of its checks must fail: by a test that it names, by a signal, or by not ending where
it ended before.

With --check the patches are only applied. With --list the table is written to verify/PLANTS.md; otherwise that table
must name the same bugs and checks. NAMEs restrict what is run.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLANTS = ROOT / "verify" / "plants"
LIST = ROOT / "verify" / "PLANTS.md"
# The patch that adds the switch itself.
SWITCH = "switch"
# The smallest number of bugs, in all and outside genpool-core, that the set must have.
LEAST, LEAST_OUTSIDE = 30, 12
# The time limit of one check, in seconds.
LIMIT = 40
# The time limit of a model without a bug, in seconds.
LIMIT_SOUND = 5
# The result of a check that did not end.
NO_END = "no end"
# How a test process reports which tests failed, and how the system reports what ended it.
FAILURES = re.compile(r"^failures:\n((?:    \S.*\n)+)", re.MULTILINE)
HEAD = """# Planted bugs

Each of these bugs is planted in CI by `ci/plants.sh`, and the check must notice it. `ci/plants.sh --list` writes this
table. Seconds are those of the check alone, on the machine that wrote the table.

| bug | in | noticed by | seconds |
|---|---|---|---|
"""


class Plant:
    """One patch: its name, what it says of the bug, the crate that it changes, the checks that must notice it."""

    def __init__(self, path):
        self.path = path
        self.name = path.stem
        text = path.read_text()
        self.checks = [line.removeprefix("Caught by: ") for line in text.splitlines() if line.startswith("Caught by: ")]
        self.text = " ".join(text.split("\n\n")[0].split())
        self.crate = re.search(r"^\+\+\+ b/([^/]+)/", text, re.MULTILINE)[1]
        if not self.checks or f'planted("{self.name}")' not in text:
            sys.exit(f'plants: {self.name}: no check, or no planted("{self.name}")')


def run(command, **options):
    """Runs a command that must succeed; answers what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode:
        sys.exit(f"plants: {' '.join(map(str, command))}: exit status {done.returncode}")
    return done.stdout


def copy_tree(to, patches):
    """The tree's files as they are, with the patches applied."""
    files = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT).split("\0")
    for file in filter(None, files):
        source, target = ROOT / file, to / file
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            # With the current time, because cargo compares times.
            shutil.copyfile(source, target)
    for patch in patches:
        done = subprocess.run(["git", "apply", "--unidiff-zero", str(patch)], cwd=to, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"plants: {patch.name} does not apply after those before it: {done.stderr.strip()}")


def kind_of(check):
    """Which build a check needs, and which of its programs."""
    match check.split():
        case ["test", package, target, *names]:
            return "test", package, target, names
        case ["loom", *names]:
            return "loom", "loom-tests", "models", names
        case ["shuttle", *names]:
            return "shuttle", "linearizability", "shuttle", names
    sys.exit(f"plants: no such check: {check}")


def build(copy, kind, wanted):
    """Builds the programs of one kind; answers them by package and target, each with the folder that it runs in."""
    targets = sorted({target for _, target in wanted})
    flags = [{"lib": "--lib", "bin": "--bins"}.get(target, f"--test={target}") for target in targets]
    env = dict(os.environ, CARGO_INCREMENTAL="0", CARGO_PROFILE_DEV_DEBUG="line-tables-only")
    base = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "plants"
    match kind:
        case "test":
            command = ["--workspace", *flags]
        case "loom":
            command = ["--release", "-p", "loom-tests", *flags]
            env |= {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
            env["RUSTFLAGS"] = "--cfg genpool_loom --cfg genpool_small"
        case "shuttle":
            command = ["-p", "linearizability", *flags]
            env |= {"CARGO_PROFILE_TEST_OPT_LEVEL": "2"}
            env["RUSTFLAGS"] = "--cfg genpool_loom --cfg genpool_shuttle"
    env["CARGO_TARGET_DIR"] = str(base / kind)
    out = run(["cargo", "test", "--quiet", "--no-run", "--message-format=json-render-diagnostics", *command], cwd=copy, env=env)
    programs = {}
    for message in map(json.loads, filter(None, out.splitlines())):
        if message.get("reason") != "compiler-artifact" or not message.get("executable") or not message["profile"]["test"]:
            continue
        folder = Path(message["manifest_path"]).parent
        # `path+file:///FOLDER#VERSION`, or `path+file:///FOLDER#NAME@VERSION` if the folder has another name.
        name = message["package_id"].partition("#")[2].rpartition("@")[0]
        package = name or folder.name
        target = message["target"]
        kinds = target["kind"]
        name = target["name"] if "test" in kinds else "bin" if "bin" in kinds else "lib"
        programs[package, name] = (message["executable"], folder)
    return programs


def look(program, names, plant, limit=LIMIT):
    """Runs a check with one bug switched on, or none. Answers what failed, how many tests ran, what was printed, and
    the seconds."""
    executable, folder = program
    env = dict(os.environ, RUST_BACKTRACE="0", GENPOOL_PLANT=plant)
    began = time.monotonic()
    try:
        done = subprocess.run([executable, *names], cwd=folder, env=env, timeout=limit, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return NO_END, 0, "", time.monotonic() - began
    seconds = time.monotonic() - began
    ran = sum(map(int, re.findall(r"^running (\d+) tests?$", done.stdout, re.MULTILINE)))
    if done.returncode == 0:
        return None, ran, done.stdout, seconds
    found = [name.strip() for lists in FAILURES.findall(done.stdout) for name in lists.splitlines()]
    if done.returncode < 0:
        found = found or [f"signal {-done.returncode}"]
    return ", ".join(sorted(set(found))) or None, ran, done.stdout, seconds


def main():
    args = sys.argv[1:]
    names = [arg for arg in args if not arg.startswith("--")]
    plants = [Plant(path) for path in sorted(PLANTS.glob("*.patch")) if path.stem != SWITCH]
    outside = sum(plant.crate != "genpool-core" for plant in plants)
    if len(plants) < LEAST or outside < LEAST_OUTSIDE:
        sys.exit(f"plants: {len(plants)} bugs, {outside} of them outside of genpool-core: fewer than {LEAST} and {LEAST_OUTSIDE}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_tree(copy, [PLANTS / f"{SWITCH}.patch", *(plant.path for plant in plants)])
        if "--check" in args:
            print(f"plants: {len(plants)} bugs can be planted together: ok")
            return
        if unknown := set(names) - {plant.name for plant in plants}:
            sys.exit(f"plants: no such bug: {', '.join(sorted(unknown))}")
        chosen = [plant for plant in plants if not names or plant.name in names]
        wanted = {}
        for check in {check for plant in chosen for check in plant.checks}:
            kind, package, target, _ = kind_of(check)
            wanted.setdefault(kind, set()).add((package, target))
        programs = {kind: build(copy, kind, targets) for kind, targets in sorted(wanted.items())}
        print(f"plants: built in {time.monotonic() - began:.0f} s", flush=True)
        failed, rows = judge(chosen, programs)
    print(f"plants: {len(chosen)} bugs, {len(failed)} of them not noticed, {time.monotonic() - began:.0f} s")
    if failed:
        sys.exit(1)
    if not names:
        write_or_compare(rows, "--list" in args)


def judge(plants, programs):
    """Runs each check without a bug, then each bug against its checks."""

    def program_of(check):
        kind, package, target, names = kind_of(check)
        try:
            return programs[kind][package, target], names
        except KeyError:
            sys.exit(f"plants: {check}: there is no such program")

    failed, rows, endless = [], [], set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        checks = sorted({check for plant in plants for check in plant.checks})
        limits = {check: LIMIT if kind_of(check)[0] == "test" else LIMIT_SOUND for check in checks}
        sound = {check: pool.submit(look, *program_of(check), "", limits[check]) for check in checks}
        for check, future in sound.items():
            found, ran, output, _ = future.result()
            if found == NO_END and limits[check] == LIMIT_SOUND:
                endless.add(check)
            elif found or not ran or "test result: ok" not in output:
                print(output[-3000:])
                sys.exit(f"plants: '{check}' does not pass with every bug switched off ({found or f'{ran} tests ran'})")
        looks = [(plant, check, pool.submit(look, *program_of(check), plant.name)) for plant in plants for check in plant.checks]
        for plant, check, future in looks:
            found, _, output, seconds = future.result()
            if found is None or (found == NO_END and check in endless):
                print(output[-3000:])
                failed.append(plant.name)
                found = "NOT NOTICED"
            print(f"plants: {plant.name}: {found} ({check}, {seconds:.1f} s)", flush=True)
            rows.append((plant, check, seconds))
    return failed, rows


def write_or_compare(rows, write):
    """Writes the table, or requires that the one there names the same bugs and checks."""
    lines = (f"| `{plant.name}`: {plant.text} | {plant.crate} | `{check}` | {seconds:.1f} |\n" for plant, check, seconds in rows)
    table = HEAD + "".join(lines)
    if write:
        LIST.write_text(table)

    def timeless(text):
        return re.sub(r"\| [\d.]+ \|$", "|", text, flags=re.MULTILINE)

    if not LIST.exists() or timeless(LIST.read_text()) != timeless(table):
        sys.exit("plants: verify/PLANTS.md names other bugs or checks: ci/plants.sh --list writes it")


main()
