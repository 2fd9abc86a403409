"""Compares what `genpool dt --json` says of device trees with what libfdt reads in them.

Arguments: the folder of the trees, the lines of JSON, the complaints. Everything is computed here
again, from the same rules and with no code in common.
"""

import collections
import json
import pathlib
import re
import sys

import libfdt

QUIET = [libfdt.NOTFOUND]


class Node:
    def __init__(self, fdt, offset, parent):
        self.parent = parent
        self.name = fdt.get_name(offset)
        self.path = "/" if parent is None else parent.path.rstrip("/") + "/" + self.name
        self.props = {}
        at = fdt.first_property_offset(offset, QUIET)
        while at >= 0:
            prop = fdt.get_property_by_offset(at)
            self.props.setdefault(prop.name, bytes(prop))
            at = fdt.next_property_offset(at, QUIET)
        self.children = []
        at = fdt.first_subnode(offset, QUIET)
        while at >= 0:
            self.children.append(Node(fdt, at, self))
            at = fdt.next_subnode(at, QUIET)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def cells(self, name):
        value = self.props[name]
        return [int.from_bytes(value[i : i + 4], "big") for i in range(0, len(value), 4)]

    def strings(self, name):
        return self.props.get(name, b"").decode("latin-1").rstrip("\0").split("\0")

    def available(self):
        return "status" not in self.props or self.strings("status")[0] in ("okay", "ok")

    def enabled(self):
        return self.available() and (self.parent is None or self.parent.enabled())

    def is_sram(self):
        return "mmio-sram" in self.strings("compatible")

    def widths(self):
        return (
            self.cells("#address-cells")[0] if "#address-cells" in self.props else 2,
            self.cells("#size-cells")[0] if "#size-cells" in self.props else 1,
        )

    def range(self):
        """Start and size as the processor sees them; an exception where there are none."""
        width, size_width = self.parent.widths()
        reg = self.cells("reg")
        start = number(reg[:width])
        size = number(reg[width : width + size_width])
        bus = self.parent
        while bus.parent is not None:
            if bus.props["ranges"]:
                inner, length = bus.widths()
                outer, _ = bus.parent.widths()
                step = inner + outer + length
                cells = bus.cells("ranges")
                for i in range(0, len(cells), step):
                    source = number(cells[i : i + inner])
                    target = number(cells[i + inner : i + inner + outer])
                    extent = number(cells[i + inner + outer : i + step])
                    if source <= start and start + max(size, 1) <= source + extent:
                        start += target - source
                        break
                else:
                    raise ValueError("not mapped")
            bus = bus.parent
        return start, size


def number(cells):
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def read_sram(node):
    start, size = node.range()
    if size == 0:
        raise ValueError("empty")
    parts, empty, places = [], [], []
    for child in node.children:
        if child.available():
            first, length = child.range()
            if first < start or first + length > start + size:
                raise ValueError("outside")
            places.append((first, length, child))
    # Children with the same start stay in the order of the tree.
    places.sort(key=lambda place: place[0])
    gaps = []
    at = start
    for first, length, child in places:
        if first < at:
            raise ValueError("overlap")
        if first > at:
            gaps.append((at, first - at))
        at = first + length
        if length == 0:
            empty.append(child.path)
            continue
        label = child.strings("label")[0] if "label" in child.props else child.name.split("@")[0]
        flags = [name in child.props for name in ("pool", "export", "protect-exec")]
        parts.append((first, length, child.path, label, *flags))
    if at < start + size:
        gaps.append((at, start + size - at))
    return {
        "range": (start, size),
        "wc": "no-memory-wc" not in node.props,
        "parts": parts,
        "off": [child.path for child in node.children if not child.available()],
        "empty": empty,
        "gaps": gaps,
    }


REFERENCE = re.compile(r"^(?:.*[,-])?(?:srams?|iram|asram|shmem)$|^internal-mem$")


def read_board(path):
    root = Node(libfdt.FdtRo(path.read_bytes()), 0, None)
    nodes = list(root.walk())
    srams, devices = {}, {}
    for node in nodes:
        if node.is_sram():
            try:
                layout = read_sram(node)
                if node.enabled():
                    pools = [part[3] for part in layout["parts"] if part[4] or part[6]]
                    if len(set(pools)) == len(pools):
                        devices[node.path] = pools
            except (ValueError, KeyError, IndexError):
                layout = None
            srams[node.path] = (node.enabled(), layout)
    phandles = {}
    for node in nodes:
        for name in ("phandle", "linux,phandle"):
            if name in node.props:
                phandles[node.cells(name)[0]] = node
    references = []
    for node in nodes:
        for name in node.props:
            if not REFERENCE.match(name):
                continue
            if len(node.props[name]) % 4:
                continue
            step = 2 if name == "allwinner,sram" else 1
            for index, cell in list(enumerate(node.cells(name)))[::step]:
                target = phandles.get(cell)
                if target is None:
                    continue
                if target.is_sram() or (target.parent and target.parent.is_sram()):
                    pool = resolve(target, devices)
                    references.append((node.path, name, index, target.path, pool))
    return srams, references


def resolve(target, devices):
    if target.path in devices:
        return (target.path, None)
    pools = devices.get(target.parent.path, [])
    base = target.name.split("@")[0]
    names = target.strings("label")[:1] if "label" in target.props else [target.name, base]
    for name in names:
        if name in pools:
            return (target.parent.path, name)
    return None


def of_genpool(board):
    """The same, of a line of JSON."""
    srams = {}
    for sram in board["srams"]:
        layout = None
        if "start" in sram:
            keys = ("start", "size", "node", "label", "pool", "export", "protect_exec")
            layout = {
                "range": (sram["start"], sram["size"]),
                "wc": sram["write_combining"],
                "parts": [tuple(part[key] for key in keys) for part in sram["partitions"]],
                "off": sram["disabled"],
                "empty": sram["empty"],
                "gaps": [(gap["start"], gap["size"]) for gap in sram["gaps"]],
            }
        srams[sram["node"]] = (sram["enabled"], layout)
    references = []
    for one in board["consumers"]:
        pool = one["pool"] and (one["pool"]["device"], one["pool"]["name"])
        references.append((one["node"], one["property"], one["index"], one["target"], pool))
    return srams, references


def main():
    folder, lines, complaints = map(pathlib.Path, sys.argv[1:])
    boards = {}
    for line in lines.read_text().splitlines():
        board = json.loads(line)
        boards[board["file"]] = board
    complained = complaints.read_text()
    totals = collections.defaultdict(collections.Counter)
    wrong = 0
    for path in sorted(folder.rglob("*.dtb")):
        count = totals[path.relative_to(folder).parts[0]]
        count["boards"] += 1
        if str(path) not in boards:
            print(f"{path}: not read")
            wrong += 1
            continue
        srams, references = read_board(path)
        if of_genpool(boards[str(path)]) != (srams, references):
            print(f"{path}: differs\n  libfdt  {(srams, references)}\n  genpool {of_genpool(boards[str(path)])}")
            wrong += 1
        for enabled, layout in srams.values():
            count["SRAM nodes"] += 1
            count["disabled"] += not enabled
            count["in error"] += layout is None
            if layout is None and enabled and str(path) not in complained:
                print(f"{path}: bad, and not complained of")
                wrong += 1
            if layout:
                count["partitions"] += len(layout["parts"])
                count["named pools"] += sum(part[4] or part[6] for part in layout["parts"])
        count["with SRAM"] += bool(srams)
        count["references"] += len(references)
        count["resolved"] += sum(pool is not None for *_, pool in references)
    columns = ["boards", "with SRAM", "SRAM nodes", "disabled", "in error", "partitions"]
    columns += ["named pools", "references", "resolved"]
    totals["all"] = sum(list(totals.values()), collections.Counter())
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, count in totals.items():
        print(f"| {name} | " + " | ".join(f"{count[column]:,}" for column in columns) + " |")
    if complained:
        print("complaints:\n" + complained, end="")
    print(f"{wrong} boards differ from what libfdt finds")
    sys.exit(wrong > 0 or totals["all"]["boards"] == 0)


main()
