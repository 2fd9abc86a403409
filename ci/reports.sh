#!/usr/bin/env bash
# Checks the reports of all three commands in a real browser, headless chromium: no console message, no request, every
# chart present with a size, and no text beyond a chart's edge, even with many algorithms and long names. Reports and
# screenshots stay in target/reports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/need.sh chromium chromium fonts-dejavu-core

out="${CARGO_TARGET_DIR:-target}/reports"
mkdir -p "$out"
out="$(cd "$out" && pwd)"

report() { # name, command...
    local name="$1"
    shift
    cargo run --release --quiet -- "$@" --html "$out/$name.html" --json "$out/$name.json" --csv "$out/$name.csv"
}
report run run --seconds 4 --threads 2 --size 4M
report replay replay --repeats 2 genpool-cli/traces/*.trace
report compare compare --repeats 2 genpool-cli/traces/*.trace
long="$out/a name that nobody would give a trace unless 試験 were what it is for, and then some more of it.trace"
cp genpool-cli/traces/python-json.trace "$long"
report many compare --repeats 3 --order 10,12,13,14 "$long" --algorithm \
    first-fit,next-fit,best-fit,order-align,thread-start,first-fit-align:0x1000,first-fit-align:0x2000,first-fit-align:0x4000,first-fit-align:0x8000,first-fit-align:0x8000000000000000,fixed:0,fixed-address:0x7fffffffffff0000

browse() { # options...
    timeout 60 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking \
        --allow-file-access-from-files --user-data-dir="$out/profile" --enable-logging=stderr "$@"
}

# Writes a page around the report that measures it, because the report itself may not run scripts.
around() { # name
    cat <<HTML
<!DOCTYPE html><body><iframe id="report" width="1240" height="900" src="$1.html"></iframe><pre id="found"></pre><script>
document.getElementById("report").onload = event => {
  const report = event.target.contentDocument, say = [];
  for (const figure of report.querySelectorAll("figure")) {
    const box = figure.querySelector("svg").getBoundingClientRect();
    const marks = figure.querySelectorAll("svg path, svg polyline, svg rect").length;
    const isOut = text => {
      const at = text.getBoundingClientRect();
      return at.left < box.left || at.right > box.right || at.top < box.top || at.bottom > box.bottom;
    };
    const isCut = [...figure.querySelectorAll("svg text")].some(isOut);
    const isEmpty = box.width <= 200 || box.height <= 40 || marks <= 3;
    say.push(figure.className + (isEmpty ? "=empty" : isCut ? "=cut" : ""));
  }
  say.push("requests=" + event.target.contentWindow.performance.getEntriesByType("resource").length);
  document.getElementById("found").textContent = "found: " + say.sort().join(" ") + " end";
};
</script></body>
HTML
}

# Checks that a report has at least this many charts of each kind.
check() { # name, kind=number...
    local name="$1" found kind least count
    shift
    around "$name" >"$out/around-$name.html"
    browse --virtual-time-budget=10000 --dump-dom "file://$out/around-$name.html" >"$out/$name.dom" 2>"$out/$name.log"
    if grep -F CONSOLE "$out/$name.log"; then
        echo "reports: $name.html says something on the console" >&2
        exit 1
    fi
    found="$(grep -o 'found: [a-z].* end' "$out/$name.dom")"
    echo "$name: $found"
    if [[ "$found" == *=empty* || "$found" == *=cut* || "$found" != *requests=0* ]]; then
        echo "reports: $name.html has an empty picture, a text that is cut, or asks for something" >&2
        exit 1
    fi
    for kind in "$@"; do
        least="${kind#*=}" count="$(grep -o -w "${kind%=*}" <<<"$found" | wc -l)"
        if ((count < least)); then
            echo "reports: $name.html has $count of the pictures $kind" >&2
            exit 1
        fi
    done
    for scheme in light dark; do
        # Blink encodes dark as 0 and light as 1.
        local -i preferred=1
        if [[ "$scheme" == dark ]]; then preferred=0; fi
        browse --window-size=1240,3300 --blink-settings=preferredColorScheme="$preferred" \
            --screenshot="$out/$name-$scheme.png" "file://$out/$name.html" 2>>"$out/$name.log"
        test "$(stat -c %s "$out/$name-$scheme.png")" -gt 30000
    done
}
check run bars=1 threads=1 free=1 fragmentation=1 latency=1 map=9
check replay free=2 fragmentation=2 latency=2 map=2
check compare bars=2 free=2 fragmentation=2 latency=2 map=10
check many bars=1 free=1 fragmentation=1 latency=1 map=12
echo "reports: ok, $SECONDS s"
