"""The page ``model_metrics.html`` of a package: what was trained, how it went, and how good it is."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rasterloom.models.contract import ModelSpec
from rasterloom.models.history import History

_WIDTH, _HEIGHT, _MARGIN = 640, 260, 40
_LINES = (("train_loss", "#1f77b4", "training"), ("valid_loss", "#d62728", "validation"))
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}i{display:inline-block;width:1em;height:1em}"
)


def metrics_page(name: str, spec: ModelSpec, history: History, facts: Mapping[str, Any]) -> str:
    """One self-contained HTML page without scripts.

    Parameters
    ----------
    name
        Name of the package.
    facts
        ``accuracy`` and ``per_class_metrics`` (figure to class name to number), shown where they are given.
    """
    parts = [
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(name)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(name)}</h1>",
        _table(("Setting", "Value"), _settings(spec)),
        "<h2>Classes</h2>",
        _classes(spec),
        *_training(history),
        *_judgement(facts),
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
        *((name, json.dumps(value)) for name, value in spec.parameters.items()),
    ]


def _classes(spec: ModelSpec) -> str:
    rows = (
        f"<tr><td>{info.value}</td>"
        f"<td><i style='background:rgb{info.color}'></i> {escape(info.name)}</td></tr>"
        for info in spec.classes
    )
    return f"<table><tr><th>Value</th><th>Class</th></tr>{''.join(rows)}</table>"


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


def _judgement(facts: Mapping[str, Any]) -> list[str]:
    table = facts.get("per_class_metrics")
    if not table:
        return []
    classes = list(next(iter(table.values())))
    rows = [(name, *(_figure(table[figure][name]) for figure in table)) for name in classes]
    accuracy = facts.get("accuracy")
    told = f"<p>Accuracy: {_figure(accuracy)}</p>" if accuracy is not None else ""
    return ["<h2>On the validation set</h2>", told, _table(("Class", *table), rows)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"
