"""The tables of the demo."""

_MIB = 1 << 20


def _mib(count):
    return f"{count / _MIB:,.1f} MiB"


def _table(rows):
    """Left column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = (
        "   " + "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in
                         enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(lines)


def costs_table(costs):
    """What each snapshot cost: all heads from the one before to it."""
    rows = [
        ["snapshot", *(cost["label"] for cost in costs)],
        ["bytes in", *(_mib(cost["bytes_in"]) for cost in costs)],
        ["unique", *(_mib(cost["bytes_unique"]) for cost in costs)],
        ["compressed", *(_mib(cost["bytes_compressed"]) for cost in costs)],
        ["uploaded", *(_mib(cost["bytes_uploaded"]) for cost in costs)],
        ["objects", *(str(cost["objects"]) for cost in costs)],
        ["heads", *(str(cost["heads"]) for cost in costs)],
        ["seconds of copying", *(f"{cost['copied']:.1f}" for cost in costs)],
        ["seconds from then to the snapshot", *(f"{cost['after']:.1f}" for cost in costs)],
        ["seconds of committing, in all", *(f"{cost['milliseconds'] / 1000:.1f}" for cost in costs)],
    ]
    return _table(rows)


def last_table(figures, expected, budget):
    """What the disaster cost, and what it took."""
    source = sum(entry.size for entry in expected.values())
    stored = figures["stored"]
    read = source / _MIB / max(figures["read"], 0.001)
    return _table([
        ["RTO: start of the second gateway to the first byte", f"{figures['rto']:.2f} s"],
        ["     of that, attach", f"{figures['attach']:.2f} s"],
        ["RPO: age of the newest head at the kill", f"{figures['rpo']:.2f} s"],
        ["entries compared", str(figures["compared"])],
        ["     of the copy that was cut short", str(figures["third_kept"])],
        ["source, both versions", _mib(source)],
        ["repository", _mib(stored)],
        ["     ratio", f"{source / max(stored, 1):.2f}"],
        ["reading everything back", f"{figures['read']:.1f} s, {read:.0f} MiB/s"],
        ["peak memory of the first gateway", f"{_mib(figures['peak_first'])} of {_mib(budget)}"],
        ["peak memory of the second gateway", f"{_mib(figures['peak_second'])} of {_mib(budget)}"],
    ])
