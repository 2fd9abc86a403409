#!/usr/bin/env python3
"""The documentation that `cargo doc` has built shows users what is theirs: what the facade has, the core and the
algorithms have, and the modules that users call are all the modules there are. The workspace's own modules, such as
the core's atomics, are hidden."""

import html.parser
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "doc"
# The modules of each library that users call.
MODULES = {
    "genpool": {"guide", "platform"} | {
        f"guide::{page}"
        for page in ["bare", "caches", "choosing", "driver", "genalloc", "reference", "service", "tour"]
    },
    "genpool_core": {"platform"},
    "genpool_algos": set(),
    "genpool_dma": {"source"},
    "genpool_devm": set(),
    "genpool_observe": set(),
}
# The crates whose items the facade re-exports one by one.
BELOW = ["genpool_core", "genpool_algos"]


class Links(html.parser.HTMLParser):
    """The pages that a page links to."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        self.found.add(dict(attributes).get("href") or "")


def modules(folder, of=""):
    """The modules that the index of a crate or module shows, and those below."""
    for link in Links(folder / "index.html").found:
        if found := re.fullmatch(r"(\w+)/index\.html", link):
            yield of + found[1]
            yield from modules(folder / found[1], f"{of}{found[1]}::")


def items(crate):
    """The items at the root of a crate, by their names. The modules are compared as such."""
    pages = (re.fullmatch(r"\w+\.(\w+)\.html", link) for link in Links(DOCS / crate / "all.html").found)
    return {page[1] for page in pages if page}


def main():
    wrong = []
    for crate, expected in MODULES.items():
        shown = set(modules(DOCS / crate))
        wrong += [f"{crate} shows the module {name}" for name in sorted(shown - expected)]
        wrong += [f"{crate} hides the module {name}" for name in sorted(expected - shown)]
    # A crate under the facade shows no name that the facade lacks.
    source = (ROOT / "src/lib.rs").read_text()
    names = set(re.findall(r"\w+", " ".join(re.findall(r"pub use genpool_(?:core|algos)::([^;]*);", source))))
    for crate in BELOW:
        wrong += [f"{crate} shows {name}, which genpool lacks" for name in sorted(items(crate) - names)]
    if not all(items(crate) for crate in BELOW):
        wrong.append("no items were found")
    if wrong:
        sys.exit("\n".join(f"public-index: {what}" for what in wrong))
    print(f"public-index: {len(MODULES)} crates: ok")


main()
