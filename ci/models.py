#!/usr/bin/env python3
"""Puts what `ci/loom.sh` printed into PROMISES.md: the table of models, and how many executions stand behind each
promise. With --check nothing is written, and it is an error where they differ.

    ci/models.py LOG [--check]
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

PROMISES = Path(__file__).parent.parent / "PROMISES.md"
HEAD = "| model | executions | bound | control, caught in execution |\n|---|---|---|---|\n"


def read(log):
    """Executions and bounds of each model, and what its controls left out."""
    models, controls = defaultdict(list), defaultdict(dict)
    for line in log.splitlines():
        # The test runner writes into the same line.
        line = re.sub(r"^test \S+ \.\.\. ", "", line)
        if found := re.match(r"(.+): complete, (\d+) executions, (.+)$", line):
            models[found[1]].append((int(found[2]), found[3].removesuffix(" preemptions")))
        elif found := re.match(r"(.+): control \[(.+)\] caught in execution (\d+)", line):
            faults = ", ".join(f"`{fault}`" for fault in found[2].split(", "))
            controls[found[1]][f"{faults} {int(found[3]):,}"] = None
    return models, controls


def table(models, controls):
    """The table of models, by name. Tests run side by side, so what a model printed several times is sorted."""
    rows = []
    for name, runs in sorted(models.items()):
        executions = " and ".join(f"{count:,}" for count, _ in sorted(runs))
        bounds = " and ".join(sorted({bound for _, bound in runs}))
        rows.append(f"| `{name}` | {executions} | {bounds} | {'; '.join(sorted(controls[name]))} |\n")
    return HEAD + "".join(rows)


def counted(models, line):
    """A promise's line, with the executions of the models that it names."""
    cells = line.split("|")
    if len(cells) < 4 or cells[2].strip() != "`ci/loom.sh`":
        return line
    names = re.findall(r"`([^`]+)`", cells[1])
    total = sum(count for name in names for count, _ in models[name])
    cells[3] = re.sub(r"[\d,]+ executions", f"{total:,} executions", cells[3])
    return "|".join(cells)


def main():
    log, check = sys.argv[1], "--check" in sys.argv[2:]
    models, controls = read(Path(log).read_text(errors="replace"))
    text = PROMISES.read_text()
    before, rest = text.split(HEAD)
    after = rest[rest.index("\n\n") + 1 :]
    now = "".join(counted(models, line) for line in before.splitlines(keepends=True))
    now += table(models, controls) + after
    if check and now != text:
        sys.exit(f"models: PROMISES.md says something else than was printed; ci/models.py {log} writes it")
    PROMISES.write_text(now)


main()
