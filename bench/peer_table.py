"""The tables that `bench/peers` prints, in Markdown, ready to be copied."""

import statistics

BEST, REAL = "HAProxy minimal", "HAProxy OpenShift-like"


def cost(cell):
    return cell["user"] + cell["system"]


def ratio(cells, label, base):
    """The median of the ratios within each pair."""
    if label not in cells or base not in cells:
        return None
    pairs = zip(cells[label], cells[base])
    return statistics.median(cost(one) / cost(other) for one, other in pairs if cost(other))


def median(cells, name):
    return statistics.median(cell[name] for cell in cells)


def errors(cells):
    return sum(cell["errors"] for cell in cells)


def number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(heads, lines):
    rule = "|" + "|".join("---" if place == 0 else "--:" for place in range(len(heads))) + "|"
    return "\n".join(
        ["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)]
    )


def overview(labels, what, rows):
    """One line per row: microseconds of each proxy, and wharf against the two of HAProxy."""
    lines = []
    for name, cells in rows.items():
        line = [f"{name}: {what[name]}"]
        for label in labels:
            found = cells.get(label)
            if not found:
                line.append("-")
                continue
            total = statistics.median(map(cost, found))
            line.append(number(total) + (f" ({errors(found)} failed)" if errors(found) else ""))
        line += [number(ratio(cells, "wharf", base), 2) for base in (BEST, REAL)]
        lines.append(line)
    return table(["CPU µs per request", *labels, "wharf / minimal", "wharf / OpenShift-like"], lines)


def detail(rows):
    lines = []
    for name, cells in rows.items():
        for label, found in cells.items():
            line = [f"{name}, {label}", number(statistics.median(map(cost, found)))]
            line += [number(median(found, part)) for part in ("user", "system")]
            line += [number(ratio(cells, label, base), 2) for base in (BEST, REAL)]
            line += [number(median(found, part), 2) for part in ("p50", "p99")]
            line += [number(median(found, "rss") / 2**20), str(errors(found))]
            lines.append(line)
    heads = ["row, proxy", "µs", "user", "system", "/ minimal", "/ OpenShift-like"]
    return table([*heads, "p50 ms", "p99 ms", "RSS MiB", "failed"], lines)


def idle(labels, special):
    lines = []
    for name in ("idle", "idle-tls"):
        if cells := special.get(name):
            for what in ("bytes", "after close"):
                line = [f"{name}: {what} per connection"]
                line += [number(cells[label][what], 0) if label in cells else "-" for label in labels]
                lines.append(line)
    return table(["resident memory", *labels], lines) if lines else ""


def added(special):
    lines = [
        [label, *(number(cell[part]) for part in ("p50", "p99", "worst"))]
        + [str(cell[part]) for part in ("adds", "requests", "errors")]
        for label, cell in special.get("add", {}).items()
    ]
    heads = ["a route added, until answered", "p50 ms", "p99 ms", "worst ms"]
    heads += ["adds", "requests meanwhile", "failed"]
    return table(heads, lines) if lines else ""


def instructions(special):
    figures = (("instructions", 0), ("allocations", 2), ("reallocations", 2))
    lines = [
        [row, *(number(cell[name], places) for name, places in figures)]
        for row, cell in special.get("instructions", {}).items()
    ]
    return table(["wharf, per request", *(name for name, _ in figures)], lines) if lines else ""


def render(facts, what, rows, special):
    """Everything, with the command and the versions."""
    labels = list(facts["versions"])
    versions = ", ".join(f"{label} {version}" for label, version in facts["versions"].items())
    suites = ", ".join(f"{label} {suite}" for label, suite in facts["suites"].items())
    logged = ", ".join(f"{label} {lines:.2f}" for label, lines in facts["log lines per request"].items())
    parts = [
        f"`{facts['command']}`, {facts['pairs']} pairs, {facts['system']}",
        f"Versions: {versions}",
        f"TLS 1.3 suites chosen: {suites}" if suites else "",
        f"Log lines per request: {logged}" if logged else "",
        overview(labels, what, rows) if rows else "",
        idle(labels, special),
        added(special),
        instructions(special),
        detail(rows) if rows else "",
    ]
    return "\n\n".join(part for part in parts if part)


def failed(rows, special):
    """How many requests were not answered with 200."""
    shared = [cell for cells in special.values() for cell in cells.values()]
    return sum(errors(found) for cells in rows.values() for found in cells.values()) + errors(shared)
