"""How tables and titles are written into the page."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ldvae.report.page import Section, page, table
from support import Reader


def test_tables_show_numbers_shortly_and_missing_ones_as_a_dash():
    frame = pd.DataFrame({"x": [1e-7, np.nan], "n": [12345, 2], "called": [True, False], "gene": ["A&B", ""]})
    rows = Reader(table(frame)).rows
    assert rows == [["x", "n", "called", "gene"], ["1e-07", "12345", "yes", "A&B"], ["–", "2", "no", ""]]
    assert table(frame[:0]) == "<p>No rows.</p>"


def test_titles_are_escaped():
    text = page("<i>", "a & b", [Section("<u>", "<s>", [])])
    assert {"i", "u", "s"}.isdisjoint(Reader(text).tags) and "a &amp; b" in text
