"""A page of HTML that needs nothing beside itself: tables that sort, pictures inside, every text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

import pandas as pd

__all__ = ["Section", "page", "paragraph", "picture", "table"]


@dataclass(frozen=True)
class Section:
    """A heading, what to think of what is below it (plain text), and what is below it (HTML)."""

    title: str
    trust: str
    body: Sequence[str]


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def picture(figure: Any, description: str) -> str:
    """A figure as a PNG inside the page; `description` is read out where it cannot be seen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(96 * figure.get_size_inches()[0] * 1.15)
    return f'<img src="data:image/png;base64,{data}" alt="{escape(description)}" width="{width}">'


def table(frame: pd.DataFrame) -> str:
    """A table that sorts by a click on a heading, and filters its rows when there are many."""
    if frame.empty:
        return paragraph("No rows.")
    head = "".join(f"<th><button type=button>{escape(str(c))}</button></th>" for c in frame.columns)
    numeric = [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in frame.dtypes]
    wide = [max(len(str(value)) for value in frame[c]) > 20 for c in frame]
    kinds = [' class="n"' if number else ' class="w"' * long for number, long in zip(numeric, wide, strict=True)]
    rows = (
        "<tr>" + "".join(f"<td{k}>{_cell(v)}</td>" for k, v in zip(kinds, row, strict=True)) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    search = '<input type=search placeholder="Show rows with …" aria-label="Show rows with">' if len(frame) > 12 else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<div class=table>{search}<div><table>{body}</table></div></div>"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}"
    return escape(str(value))


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    links = "".join(f'<a href="#s{i}">{escape(s.title)}</a>' for i, s in enumerate(sections))
    parts = (
        f'<section id="s{i}"><h2>{escape(s.title)}</h2><p class=trust>{escape(s.trust)}</p>{"".join(s.body)}</section>'
        for i, s in enumerate(sections)
    )
    return _PAGE.substitute(title=escape(title), lead=escape(lead), links=links, sections="".join(parts))


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2126; margin: 0 auto; padding: 1.5rem; max-width: 62rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.25rem; margin: 0 0 .3rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0; }
a { color: #005a8d; }
section { border-top: 1px solid #d5dae0; padding: 1.2rem 0; }
.trust { background: #f1f5f8; border-left: 3px solid #0072b2; margin: .5rem 0 1rem; padding: .5rem .8rem; }
img { display: block; max-width: 100%; height: auto; margin: .8rem 0; }
.table { margin: .8rem 0; } .table div { overflow: auto; max-height: 30rem; border: 1px solid #d5dae0; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; }
th { position: sticky; top: 0; background: #e8edf2; padding: 0; text-align: left; white-space: nowrap; }
th button { all: unset; cursor: pointer; padding: .3rem .55rem; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0072b2; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
td { padding: .2rem .55rem; border-top: 1px solid #eef1f4; vertical-align: top; min-width: 3rem; }
td { overflow-wrap: break-word; max-width: 20rem; }
td.w { min-width: 9rem; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
input { font: inherit; padding: .2rem .5rem; margin-bottom: .4rem; width: 16rem; max-width: 100%; }
@media print { nav, input { display: none; } .table div { max-height: none; } }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
<nav>$links</nav>
$sections
<script>
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => head.firstChild.onclick = () => {
    const sign = head.ariaSort === "ascending" ? -1 : 1, text = row => row.cells[i].textContent;
    heads.forEach(other => other.ariaSort = null);
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [text(a), text(b)];
      if (x === "–" || y === "–") return (x === "–") - (y === "–");
      return sign * (x - y || x.localeCompare(y, undefined, {numeric: true}));
    });
    body.append(...rows);
  });
  const search = table.parentNode.previousSibling;
  if (search) search.oninput = () => {
    const wanted = search.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  };
}
</script>
</body>
</html>
""")
