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


def test_long_texts_have_room_so_that_rows_are_not_tall():
    frame = pd.DataFrame({"x": [1.0], "population": ["B"], "top_up": ["CD79A, MS4A1, CD74, HLA-DRA"]})
    assert '<td class="n">1</td><td>B</td><td class="w">CD79A,' in table(frame)


def test_titles_are_escaped():
    text = page("<i>", "a & b", [Section("<u>", "<s>", [])])
    assert {"i", "u", "s"}.isdisjoint(Reader(text).tags) and "a &amp; b" in text
