#!/usr/bin/env python3
"""Every public type, trait and function of the library crates has an example in its documentation.

A function may do without one of its own where the example of its type calls it, where it only reads
(takes `self` and nothing else, and has no errors), and where it does "As [`...`]", whose documentation
is there. Documentation that says "signal-safe" links to what that means.
"""

import pathlib
import re
import sys

# The crate to compare with in tests and the command's own crate promise no API.
LEFT_OUT = {"genpool-plain", "genpool-cli"}
ITEM = re.compile(
    r"(?P<indent> *)pub (?:const |unsafe )*(?P<kind>fn|struct|enum|trait|union) (?P<name>\$?\w+)"
)
READS = re.compile(r"\((?:&|&'\w+ )?self,?\)")
IMPL = re.compile(r"impl(?:<.*>)? (?:[\w:<>', ]+ for )?(?P<name>\$?\w+)")


def items(path):
    """Each public item of a file: its line, kind, name, type, signature and documentation."""
    docs, hidden, sealed, of, in_attribute = [], False, False, None, False
    hidden_types = set()
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        text = line.strip()
        if in_attribute:
            in_attribute = not text.endswith(")]")
        elif text in ("#[error(", "#[cfg_attr(", "#[expect("):
            in_attribute = True
        elif text.startswith("///"):
            docs.append(text[3:].strip())
        elif text == "#[doc(hidden)]":
            hidden = True
        elif text.endswith("mod sealed {"):
            sealed = True
        elif text.startswith("#[cfg(test)]"):
            return
        elif not text.startswith(("#[", ")]", "//")):
            if implemented := IMPL.match(text):
                of = implemented["name"]
            found = ITEM.match(line)
            if found and hidden:
                hidden_types.add(found["name"])
            elif found and not sealed and not (found["indent"] and of in hidden_types):
                signature = "".join(part.strip() for part in lines[at : at + 8]).split("{")[0]
                item = found["kind"], found["name"], of if found["kind"] == "fn" else None
                yield at + 1, *item, signature, "\n".join(docs)
            docs, hidden = [], False
            # Items that seal a trait are in a module of their own, which ends at its closing brace.
            sealed = sealed and (line.startswith("    ") or not line)


def may_do_without(name, of_type, signature, docs):
    """Whether what is said elsewhere is enough."""
    reads = READS.search(signature) and "# Errors" not in docs and "unsafe" not in signature
    called = re.search(rf"\b{name}(::<.*>)?\(", of_type)
    # What is as another item, whose example shows it.
    refers = re.match(r"(See|As|Like) \[`|\w+( \w+){0,4} as \[`[^]]+\]\([^)]+\) does\b", docs)
    return bool(reads or called or refers)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    missing = unlinked = count = 0
    for crate in [root, *sorted(root.glob("genpool-*"))]:
        found = []
        for path in sorted((crate / "src").rglob("*.rs")) if crate.name not in LEFT_OUT else []:
            # The workspace's own atomics and the items for fuzzers and for models are not part of the stable API.
            if not re.search("genpool-core/src/sync|src/fuzz.rs|recorder/ring.rs", path.as_posix()):
                found += [(path, *item) for item in items(path)]
        types = {name: docs for _, _, kind, name, _, _, docs in found if kind != "fn"}
        for path, line, kind, name, of, signature, docs in found:
            if "$" in f"{name}{of}":
                continue  # what a macro makes is documented where the macro is called
            count += 1
            if "signal-safe" in docs.lower() and "#signal-safety" not in docs:
                unlinked += 1
                print(f"{path.relative_to(root)}:{line}: {kind} {name} does not link to what signal-safe means")
            if "```" in docs or kind == "fn" and may_do_without(name, types.get(of, ""), signature, docs):
                continue
            missing += 1
            print(f"{path.relative_to(root)}:{line}: {kind} {name} has no example")
    if missing:
        sys.exit(f"doc-examples: {missing} of {count} public items have no example")
    if unlinked:
        sys.exit(f"doc-examples: {unlinked} of {count} public items say signal-safe without a link")
    print(f"doc-examples: {count} public items: ok")


main()
