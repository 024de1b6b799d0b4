"""The page ``model_metrics.html`` of a package: what was trained, how it went, and how good it is."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.history import History
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.packages.findings import RESULTS, Findings

_WIDTH, _HEIGHT, _MARGIN = 640, 260, 40
_LINES = (("train_loss", "#1f77b4", "training"), ("valid_loss", "#d62728", "validation"))
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}"
    "td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right;font-variant-numeric:tabular-nums}"
    "td:first-child,th:first-child,.text td,.text th{text-align:left}th{background:#f5f5f5;font-weight:600}"
    "i{display:inline-block;width:1em;height:1em;vertical-align:-.1em}img,svg{max-width:100%;height:auto}"
    "small{display:block}figure{margin:1em 0}figcaption,p{color:#555}"
)
_DEEPEST = (31, 119, 180)
"""Colour of a cell that holds all pixels of its row."""


def metrics_page(name: str, spec: ModelSpec, history: History, findings: Findings) -> str:
    """One self-contained HTML page without scripts; all text in it is escaped.

    Parameters
    ----------
    name
        Name of the package.
    findings
        What is known of the model; parts that nothing is known of are left out.
    """
    parts = [
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(name)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(name)}</h1>",
        _table(("Setting", "Value"), _settings(spec), kind="text"),
        "<h2>Classes</h2>",
        _classes(spec),
        *_data(spec, findings.data),
        *_training(history),
        *_judgement(spec, findings),
        *_confusion(spec, findings.confusion),
        *_results(findings.pictures.get(RESULTS)),
        "</body></html>",
    ]
    return "\n".join(parts)


def loss_curve(history: History) -> str:
    """Training and validation loss over the epochs, as SVG text."""
    values = [row.value(column) for row in history.rows for column, _, _ in _LINES]
    top = max((value for value in values if math.isfinite(value)), default=1.0) or 1.0
    lines = [_line(history, column, color, top=top) for column, color, _ in _LINES]
    keys = [
        f"<text x='{_WIDTH - 150}' y='{20 + 18 * place}' fill='{color}'>{label}</text>"
        for place, (_, color, label) in enumerate(_LINES)
    ]
    axes = (
        f"<path d='M{_MARGIN} 10V{_HEIGHT - _MARGIN}H{_WIDTH - 10}' fill='none' stroke='#888'/>"
        f"<text x='2' y='16'>{top:.3g}</text><text x='22' y='{_HEIGHT - _MARGIN}'>0</text>"
        f"<text x='{_WIDTH // 2}' y='{_HEIGHT - 8}'>epoch 1 to {len(history)}</text>"
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' "
        f"font-size='13' role='img' aria-label='loss by epoch'>{axes}{''.join(lines)}{''.join(keys)}</svg>"
    )


def _line(history: History, column: str, color: str, *, top: float) -> str:
    steps = max(len(history) - 1, 1)
    points = [
        (
            _MARGIN + place / steps * (_WIDTH - _MARGIN - 10),
            10 + (1 - row.value(column) / top) * (_HEIGHT - _MARGIN - 10),
        )
        for place, row in enumerate(history.rows)
        if math.isfinite(row.value(column))
    ]
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.5' fill='{color}'/>" for x, y in points)
    return f"<polyline points='{text}' fill='none' stroke='{color}' stroke-width='2'/>{dots}"


def _settings(spec: ModelSpec) -> list[tuple[str, str]]:
    return [
        ("Model", spec.model),
        ("Bands", ", ".join(spec.bands)),
        ("Pixel type", spec.dtype or "not known"),
        ("Tile size", f"{spec.tile_size} px"),
        (
            "Cell size",
            f"{spec.cell_size[0]:g} x {spec.cell_size[1]:g}" if all(spec.cell_size) else "not known",
        ),
        *((name, _setting(value)) for name, value in spec.parameters.items()),
    ]


def _classes(spec: ModelSpec) -> str:
    rows = (
        f"<tr><td>{info.value}</td>"
        f"<td><i style='background:rgb{info.color}'></i> {escape(info.name)}</td></tr>"
        for info in spec.classes
    )
    return f"<table class='text'><tr><th>Value</th><th>Class</th></tr>{''.join(rows)}</table>"


def _training(history: History) -> list[str]:
    if not history.rows:
        return []
    names = sorted({name for row in history.rows for name in row.metrics})
    rows = [
        (
            str(row.epoch),
            _figure(row.train_loss),
            _figure(row.valid_loss),
            *(_figure(row.metrics.get(name, math.nan)) for name in names),
            f"{row.seconds:.1f}",
        )
        for row in history.rows
    ]
    rate = history.learning_rate
    told = f"<p>Learning rate: {rate:.2e}</p>" if rate is not None else ""
    header = ("Epoch", "Training loss", "Validation loss", *names, "Seconds")
    return ["<h2>Training</h2>", told, loss_curve(history), _table(header, rows)]


def _data(spec: ModelSpec, data: Mapping[str, Any]) -> list[str]:
    if not data:
        return []
    width, height = data["cell_size"]
    plain = [
        ("Format", str(data["format"])),
        ("Chips to train", f"{data['train_chips']:,}"),
        ("Chips to validate", f"{data['valid_chips']:,}"),
        ("Chip size", f"{data['chip_size']} px"),
        ("Cell size", f"{width:g} x {height:g}" if width and height else "not known"),
        ("Batch size", str(data["batch_size"])),
    ]
    bands = [
        (str(band["name"]), *(f"{band[figure]:.5g}" for figure in ("minimum", "maximum", "mean", "std")))
        for band in data["bands"]
    ]
    return [
        "<h2>Training data</h2>",
        _table(("Property", "Value"), plain, kind="text"),
        _table(("Band", "Minimum", "Maximum", "Mean", "Deviation"), bands),
        *_class_pixels(spec, data["class_pixels"]),
    ]


def _class_pixels(spec: ModelSpec, counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values())
    if not total:
        return []
    names = {str(info.value): info.name for info in spec.output_classes}
    rows = [
        (names.get(value, value), f"{count:,}", f"{count / total:.2%}")
        for value, count in sorted(counts.items(), key=lambda item: int(item[0]))
    ]
    return [_table(("Class", "Pixels", "Share"), rows)]


def _judgement(spec: ModelSpec, findings: Findings) -> list[str]:
    columns = dict(findings.facts.get("per_class_metrics") or {})
    if columns and findings.confusion is not None:
        overlaps = findings.confusion.iou()
        columns["IoU"] = {info.name: overlaps.get(info.value, math.nan) for info in spec.output_classes}
    precision = findings.facts.get("average_precision_score")
    if isinstance(precision, Mapping):
        columns["average precision"] = precision
    if not columns:
        return []
    classes = list(next(iter(columns.values())))
    rows = [(name, *(_figure(column.get(name, math.nan)) for column in columns.values())) for name in classes]
    accuracy = findings.facts.get("accuracy")
    told = f"<p>Accuracy: {_figure(accuracy)}</p>" if accuracy is not None else ""
    return ["<h2>On the validation set</h2>", told, _table(("Class", *columns), rows)]


def _confusion(spec: ModelSpec, confusion: Confusion | None) -> list[str]:
    """Pixels or chips of each true class (rows) by predicted class (columns), coloured by share of the row.

    A class that is in neither is left out.
    """
    if confusion is None or not confusion.total:
        return []
    counts = np.asarray(confusion.counts)
    there = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    names = {info.value: info.name for info in spec.output_classes}
    labels = [escape(names.get(confusion.values[place], "")) for place in there]
    lines = []
    for label, row in zip(labels, counts[np.ix_(there, there)].tolist(), strict=True):
        cells = "".join(_cell(count, sum(row)) for count in row)
        lines.append(f"<tr><th>{label}</th>{cells}</tr>")
    head = "".join(f"<th>{label}</th>" for label in labels)
    counted = "Chips" if spec.task is Task.SCENES else "Pixels"
    return [
        f"<h2>Confusion matrix</h2><p>{counted} of the validation set: rows are the truth, columns the "
        "prediction, shares are of the row.</p>",
        f"<table><tr><th>truth</th>{head}</tr>{''.join(lines)}</table>",
    ]


def _cell(count: int, of: int) -> str:
    share = count / of if of else 0.0
    color = tuple(round(255 - (255 - part) * share) for part in _DEEPEST)
    ink = "#fff" if share > 0.6 else "#222"
    told = f"{share:.1%}" if of else "-"
    return f"<td style='background:rgb{color};color:{ink}'>{count:,}<small>{told}</small></td>"


def _results(picture: bytes | None) -> list[str]:
    if picture is None:
        return []
    code = base64.b64encode(picture).decode("ascii")
    return [
        "<h2>Sample results</h2>"
        f"<figure><img alt='chips of the validation set' src='data:image/png;base64,{code}'>"
        "<figcaption>Chips of the validation set, their labels, and what the model makes of them."
        "</figcaption></figure>"
    ]


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "numbers") -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table class='{kind}'><tr>{head}</tr>{body}</table>"


def _figure(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else "-"
