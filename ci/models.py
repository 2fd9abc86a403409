#!/usr/bin/env python3
"""Compares what `ci/loom.sh` explored with loom-tests/MODELS.md, where each model has the number of its executions.

    ci/models.py LOG                                 compares
    ci/models.py LOG --write [--reason 'MODEL, MODEL = WHY']...

A model whose number changes is another model, or explores other code: more than one bug was first seen as such a
change. So each row has the number before and why it changed, and a new number is written only with a reason that
names its model. A model that is new, or is no longer there, needs one too. What a control takes may change without.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

TABLE = Path(__file__).parent.parent / "loom-tests" / "MODELS.md"
HEAD = "| model | executions | before | why it changed | bound | control, caught in execution |\n|---|---|---|---|---|---|\n"
NEW = "new"


def read(log):
    """What was explored: for each model its executions, its bounds, and what its controls left out."""
    models, controls = defaultdict(list), defaultdict(set)
    for line in log.splitlines():
        # The test runner writes into the same line.
        line = re.sub(r"^test \S+ \.\.\. ", "", line)
        if found := re.match(r"(.+): complete, (\d+) executions, (.+)$", line):
            models[found[1]].append((int(found[2]), found[3].removesuffix(" preemptions")))
        elif found := re.match(r"(.+): control \[(.+)\] caught in execution (\d+)", line):
            faults = ", ".join(f"`{fault}`" for fault in found[2].split(", "))
            controls[found[1]].add(f"{faults} {int(found[3]):,}")
    # Tests run in parallel, so the lines that a model printed are sorted.
    return {
        name: (
            " and ".join(f"{count:,}" for count, _ in sorted(runs)),
            " and ".join(sorted({bound for _, bound in runs})),
            "; ".join(sorted(controls[name])),
        )
        for name, runs in sorted(models.items())
    }


def rows_of(text):
    """The table's rows by model: executions, those before, the reason, bound, controls."""
    lines = text.split(HEAD)[1].splitlines()
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): row[1:] for row in cells}


def reasons_of(args):
    """The reasons that were given, by model."""
    reasons = {}
    for flag, text in zip(args[::2], args[1::2], strict=True):
        names, equals, why = text.partition("=")
        if flag != "--reason" or not equals or not why.strip() or "|" in why:
            sys.exit(f"models: not a reason: {flag} {text}")
        reasons |= {name: why.strip() for name in re.split(r",\s+", names.strip())}
    return reasons


def main():
    log, *args = sys.argv[1:]
    write = args[:1] == ["--write"]
    reasons = reasons_of(args[1:] if write else args)
    explored = read(Path(log).read_text(errors="replace"))
    text = TABLE.read_text()
    rows = rows_of(text)
    faults, changed = [], set()
    for name in sorted(explored | rows):
        now = explored.get(name, ("none",))[0]
        known = rows[name][0] if name in rows else NEW
        if now != known:
            changed.add(name)
            if name not in reasons:
                faults.append(f"`{name}`: {known} -> {now} executions, and no reason is given")
        elif not rows[name][2] or rows[name][1] == known:
            faults.append(f"`{name}`: the table says neither what the number was before nor why it changed")
    faults += [f"`{name}` did not change" for name in sorted(set(reasons) - changed)]
    if faults:
        print("\n".join(f"models: {fault}" for fault in faults), file=sys.stderr)
        sys.exit(f"models: see what changed; if it should: ci/models.py {log} --write --reason 'MODEL, MODEL = WHY'")
    lines = []
    for name, (count, bound, controls) in explored.items():
        known, before, why = rows.get(name, [NEW, "", ""])[:3]
        if name in changed:
            before, why = known, reasons[name]
        lines.append(f"| `{name}` | {count} | {before} | {why} | {bound} | {controls} |\n")
    now = text.split(HEAD)[0] + HEAD + "".join(lines)
    if write:
        TABLE.write_text(now)
    elif now != text:
        sys.exit(f"models: bounds or controls are others than in the table; ci/models.py {log} --write")


main()
