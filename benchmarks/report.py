"""From what was seen to figures: JSON with everything in it, and a Markdown table for people."""

import statistics
from dataclasses import asdict
from typing import Any

from benchmarks.contest import Record
from benchmarks.rows import Must, Reading, Row, Sizes

Json = dict[str, Any]
NOTHING = "–"


def report(
    rows: list[Row], record: Record, *, baseline: str, subject: str, sizes: Sizes, about: Json
) -> Json:
    """All rows with their readings, medians, ratios pair by pair, references and problems."""
    words = sizes.words()
    found = [_row(row, record, baseline, subject, words) for row in rows]
    return {**about, "baseline": baseline, "subject": subject, "sizes": asdict(sizes), "rows": found}


def complete(result: Json) -> bool:
    """Whether every row has all its rounds of both servers."""
    return not any(row["problems"] for row in result["rows"])


def table(result: Json) -> str:
    """Everything a reader wants, as Markdown: the rows, the references, what went wrong, where it was."""
    parts = [_heading(result), _rows_table(result), _references_table(result)]
    parts += [_notes("Not measured, or not in full:", result, "problems")]
    parts += [_notes("Remarks:", result, "remarks")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(row: Row, record: Record, baseline: str, subject: str, words: dict[str, str]) -> Json:
    readings = record.readings[row.name]
    before, after = readings[baseline], readings[subject]
    pairs = [
        after[n].value / before[n].value for n in sorted(before.keys() & after.keys()) if before[n].value
    ]
    sides = {name: _side(readings[name], row.must) for name in (baseline, subject)}
    return {
        "name": row.name,
        "title": row.title.format(**words),
        "unit": row.unit,
        "must": asdict(row.must) if row.must else None,
        "reached": _reached(row.must, pairs, [reading.value for reading in after.values()]),
        **sides,
        "ratio": _ratio(pairs, sides[baseline], sides[subject]),
        "references": {
            name: {"unit": unit, "median": statistics.median(values), "all": values}
            for name, (unit, values) in record.references[row.name].items()
        },
        "load_average_before": record.load_averages[row.name],
        "remarks": _remarks(readings),
        "problems": record.problems[row.name],
    }


def _side(readings: dict[int, Reading], must: Must | None) -> Json | None:
    if not readings:
        return None
    values = [readings[n].value for n in sorted(readings)]
    worst = must is not None and must.take == "worst"
    return {
        "figure": max(values) if worst else statistics.median(values),
        "median": statistics.median(values),
        "all": values,
        "details": [readings[n].details for n in sorted(readings)],
    }


def _remarks(readings: dict[str, dict[int, Reading]]) -> list[str]:
    return [
        f"{name}, round {number + 1}: {reading.remark}"
        for name, side in readings.items()
        for number, reading in side.items()
        if reading.remark
    ]


def _ratio(pairs: list[float], baseline: Json | None, subject: Json | None) -> Json | None:
    if not pairs or baseline is None or subject is None:
        return None
    of_medians = subject["median"] / baseline["median"] if baseline["median"] else None
    spread = {"min": min(pairs), "max": max(pairs)}
    return {"median": statistics.median(pairs), **spread, "pairs": pairs, "of_medians": of_medians}


def _reached(must: Must | None, pairs: list[float], figures: list[float]) -> bool | None:
    if must is None:
        return None
    found = pairs if must.on == "ratio" else figures
    return must.reached(found) if found else None


def _heading(result: Json) -> str:
    machine, versions = result["machine"], result["versions"]
    servers = ", ".join(f"{name} {found.get(name.split()[0], '')}" for name, found in versions.items())
    where = (
        f"{servers}; {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, {machine['filesystem']}; raw load by {result['load_generator']}; "
        f"metadata on {result.get('database', 'sqlite')}; "
        f"load average {machine['load_average']} before the run."
    )
    how = (
        f"Medians of up to {result['sizes']['rounds']} alternating rounds; "
        "ratio = median of the pairs' ratios (least to greatest)."
    )
    lines = [where, how]
    if result["quick"]:
        lines.append("**Quick run: the sizes are too small for the figures to mean anything.**")
    return "\n".join(lines)


def _rows_table(result: Json) -> str:
    baseline, subject = result["baseline"], result["subject"]
    lines = [["work", baseline, subject, f"{subject} / {baseline}", "must reach", "reached"]]
    for row in result["rows"]:
        ratio = row["ratio"]
        spread = (
            f"{_short(ratio['median'])}× ({_short(ratio['min'])}–{_short(ratio['max'])})"
            if ratio
            else NOTHING
        )
        cells = [
            row["title"],
            _figure(row[baseline], row["unit"]),
            _figure(row[subject], row["unit"]),
            spread,
        ]
        must = row["must"]
        lines.append([*cells, must["text"] if must else NOTHING, _verdict(row)])
    return _markdown(lines)


def _references_table(result: Json) -> str:
    baseline, subject = result["baseline"], result["subject"]
    lines = [["beside", "what the machine does", "figure", f"{baseline} / it", f"{subject} / it"]]
    for row in result["rows"]:
        for name, seen in row["references"].items():
            shares = [_share(row[side], seen["median"]) for side in (baseline, subject)]
            lines.append([row["title"], name, f"{_short(seen['median'])} {seen['unit']}", *shares])
    return _markdown(lines) if len(lines) > 1 else ""


def _notes(title: str, result: Json, kind: str) -> str:
    """One line for each text, with all the rows that it stands for."""
    rows_by_text: dict[str, list[str]] = {}
    for row in result["rows"]:
        for text in row[kind]:
            rows_by_text.setdefault(text, []).append(row["name"])
    seen = [f"- {', '.join(rows)}: {text}" for text, rows in rows_by_text.items()]
    return "\n".join([title, "", *seen]) if seen else ""


def _verdict(row: Json) -> str:
    if row["must"] is None:
        return NOTHING
    return {True: "yes", False: "no", None: "not measured"}[row["reached"]]


def _figure(side: Json | None, unit: str) -> str:
    return f"{_short(side['figure'])} {unit}" if side else NOTHING


def _share(side: Json | None, reference: float) -> str:
    return f"{_short(side['median'] / reference)}×" if side and reference else NOTHING


def _short(value: float) -> str:
    """Three digits are more than the machine is good for."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _markdown(lines: list[list[str]]) -> str:
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    padded = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])
