"""The report: one file that shows the tables, escapes what it shows, and says what it could not answer."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ldvae
from ldvae.report import sections as answers
from support import LABELS, Reader, child, sentence


def test_one_file_that_needs_no_other(written, read):
    assert [p.name for p in written.parent.iterdir()] == ["report.html"]
    assert read.open == []
    assert {link.partition(",")[0] for link in read.links if not link.startswith("#")} == {"data:image/png;base64"}
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)


_CLICKS = """<script>
const table = [...document.querySelectorAll("table")].find(t => t.parentNode.previousSibling);
const rows = [...table.tBodies[0].rows], i = rows[0].cells.length - 1;
const shown = () => [...table.tBodies[0].rows].filter(r => !r.hidden);
const numbers = () => shown().map(r => r.cells[i].textContent).filter(t => t !== "–").map(Number), said = {};
const head = table.tHead.rows[0].cells[i].firstChild, search = table.parentNode.previousSibling;
head.click(); said.up = numbers(); head.click(); said.down = numbers();
search.value = rows[0].cells[1].textContent; search.oninput(); said.found = shown().map(r => r.textContent);
said.wanted = search.value; said.rows = rows.length;
said.pictures = [...document.images].map(i => i.naturalWidth); said.script = document.scripts.length;
document.body.innerHTML = ""; document.title = JSON.stringify(said);
</script></body>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_without_network_shows_sorts_and_filters_it(written, tmp_path):
    clicking = tmp_path / "clicking.html"
    clicking.write_text(written.read_text(encoding="utf-8").replace("</body>", _CLICKS), encoding="utf-8")
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    offline = "--proxy-server=127.0.0.1:1"
    found = subprocess.run(
        [*chromium, offline, "--virtual-time-budget=5000", "--dump-dom", clicking.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", found.stdout, re.DOTALL)
    assert title is not None, found.stderr
    said = json.loads(html.unescape(title[1]))
    assert said["up"] == sorted(said["up"]) != said["down"] and said["down"] == said["up"][::-1]
    assert 0 < len(said["found"]) < said["rows"] and all(said["wanted"] in row for row in said["found"])
    assert len(said["pictures"]) == 12 and min(said["pictures"]) > 300 and said["script"] == 2


def test_every_question_has_a_section(read):
    assert read.headings == [
        "What sets each population apart",
        "What varies inside each population",
        "Where each program varies",
        "What varies in one population only",
        "Differential expression, each population against the rest",
        "Factors of all cells",
        "What goes with 'treatment'",
        "Training",
        "Settings, versions and warnings",
    ]


def test_names_are_shown_as_they_are_and_run_nothing(read):
    assert set(LABELS.values()) <= {cell for row in read.rows for cell in row}
    assert read.tags.count("script") == 1 and "b" not in read.tags


def test_pictures_are_pictures(read):
    pictures = [link for link in read.links if link.startswith("data:")]
    assert len(pictures) == 12
    for link in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2])))
        assert np.asarray(image.convert("L")).std() > 5


def test_tables_are_those_of_the_functions(read, fit, cells):
    by = dict(groupby="label", sample_key="sample")
    programs = ldvae.population_programs(fit, cells, kind="specific", **by)
    assert programs["called"].any()
    for _, fact in programs[programs["program"] != "rest"].iterrows():
        row = [fact["population"], fact["program"], "yes" if fact["called"] else "no"]
        assert any(found[:3] == row and f"{fact['padj']:.3g}" in found for found in read.rows)
    found = ldvae.get_program_map(fit, cells, **by)
    varies = found[found["padj"] < 0.05]
    assert 0 < len(varies) < len(found)
    assert [row for row in read.rows if len(row) == 8 and row[0] in set(found["program"])] == [
        [
            fact["program"], fact["population"], "yes" if fact["active"] else "no",
            *(f"{fact[c]:.3g}" for c in ("variance", "std", "share", "padj")), str(fact["n_genes"]),
        ]
        for _, fact in varies.iterrows()
    ]  # fmt: skip
    between = ldvae.population_loadings(fit, cells, kind="between", **by)
    top = ldvae.top_genes(between[between["lfsr"] < 0.05], n=3)
    shown = [row for row in read.rows if len(row) == 5 and row[1] in set(fit.genes)]
    assert [row[:3] for row in shown] == [
        [a, b, f"{c:.3g}"] for a, b, c in zip(top["population"], top["gene"], top["loading"], strict=True)
    ]
    de = ldvae.differential_expression(fit, cells, **by)
    genes = [row for row in read.rows if len(row) == 10 and row[1] == "rest"]
    called = de[de["is_de"]].groupby("group1").size().clip(upper=3)
    assert pd.Series([row[0] for row in genes]).value_counts().to_dict() == called.to_dict()


def test_what_is_left_of_a_population_is_no_row_but_a_population_without_a_program_is_named():
    numbers = dict(share=0.2, ratio_to_reference=np.nan, share_of_samples=np.nan, padj=0.5, n_genes=0)
    nothing = dict(called=False, like_population="", like_cosine=np.nan, top_up="", top_down="", **numbers)
    something = nothing | dict(called=True, like_population="B", like_cosine=0.126, top_up="G1, G2")
    programs = pd.DataFrame(
        [
            dict(population="A", program="program_1", reason="", **something),
            dict(population="A", program="rest", reason="does not vary", **nothing),
            dict(population="B", program="rest", reason="too few cells", **nothing),
            dict(population="C", program="rest", reason="does not vary", **nothing),
            dict(population="D", program="rest", reason="too few cells", **nothing),
        ]
    )
    said = "".join(answers._named_programs(programs))
    assert Reader(said).rows == [
        ["population", "program", "called", "top_up", "share", "padj", "n_genes", "like"],
        ["A", "program_1", "yes", "G1, G2", "0.2", "0.5", "0", "B (0.13)"],
    ]
    assert "<p>No program in B, D: too few cells.</p><p>No program in C: does not vary.</p>" in said
    assert answers._named_programs(programs.iloc[1:2]) == ["<p>No rows.</p>", "<p>No program in A: does not vary.</p>"]


def test_a_comparison_comes_with_the_factors_behind_it(written, volcanoes, fit, cells):
    (_, against_rest), *inside = volcanoes
    by_sample = dict(sample_key="sample")
    parts = ldvae.differential_contributions(fit, cells, groupby="label", group1=sorted(LABELS.values()), **by_sample)
    pd.testing.assert_frame_equal(against_rest, parts)
    de = ldvae.differential_expression(
        fit, cells, groupby="treatment", group1="treated", sample_key="sample", within="label"
    )
    calls = de[de["is_de"]]["within"].value_counts()
    assert len(calls) == 3
    for name, (drawn, parts) in zip(calls.index, inside, strict=True):
        pd.testing.assert_frame_equal(drawn, de[de["within"] == name])
        own = cells[cells.obs["label"] == name]
        pd.testing.assert_frame_equal(
            parts, ldvae.differential_contributions(fit, own, groupby="treatment", group1="treated", **by_sample)
        )


def test_only_the_populations_with_most_calls_are_split(fit, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "_MAX_SPLIT", 1)
    ldvae.write_report(fit, cells, groupby="population", path=tmp_path / "x.html", key="treatment", sample_key="sample")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert text.count("which factors are behind the called genes") == 2
    de = ldvae.differential_expression(
        fit, cells, groupby="treatment", group1="treated", sample_key="sample", within="population"
    )
    most = de[de["is_de"]]["within"].value_counts().index[0]
    assert re.findall(r"<p>(P\d.*?):</p>", text) == [most, ", ".join(p for p in ("P0", "P1", "P2") if p != most)]


def test_settings_seed_and_versions_are_there(read):
    settings = {(row[0], row[1]): row[2] for row in read.rows if len(row) == 3}
    assert settings["fit", "seed"] == "0" and settings["fit", "gene_likelihood"] == "nb"
    assert settings["report", "sample_key"] == "sample" and settings["report", "seed"] == "0"
    assert settings["versions of this report", "ldvae"] == ldvae.__version__
    assert settings["versions of this report", "numpy"] == np.__version__


def test_what_has_no_answer_says_why(fit, cells, tmp_path):
    few = cells[(cells.obs["label"] == "plain").to_numpy() | (np.arange(cells.n_obs) < 12)]
    with pytest.warns(UserWarning, match="fewer than 30 cells are left out"):
        ldvae.write_report(fit, few, groupby="label", path=tmp_path / "few.html")
    text = (tmp_path / "few.html").read_text(encoding="utf-8")
    assert "Not answered for these cells: `groupby` must have two populations of at least 30 cells" in text
    assert "fewer than 30 cells are left out" in text and "the unit is the cell" in text


def test_wrong_arguments_get_a_sentence_before_anything_is_written(fit, cells, tmp_path):
    path, by = tmp_path / "x.html", dict(groupby="label", path=tmp_path / "x.html")
    wanted = "must name a column of adata.obs"
    assert wanted in sentence(ValueError, ldvae.write_report, fit, cells, groupby="no", path=path)
    assert wanted in sentence(ValueError, ldvae.write_report, fit, cells, key="no", **by)
    assert wanted in sentence(ValueError, ldvae.write_report, fit, cells, sample_key="no", **by)
    assert sentence(ValueError, ldvae.write_report, fit, cells, embedding=np.zeros((5, 2)), **by) == (
        "`embedding` must have two numbers for each of the 600 cells of `adata`, not the shape (5, 2) of type float64."
    )
    assert "existing folder" in sentence(
        ValueError, ldvae.write_report, fit, cells, groupby="label", path=tmp_path / "no" / "x"
    )
    assert "`n_genes` must be" in sentence(ValueError, ldvae.write_report, fit, cells, n_genes=0, **by)
    assert "genes" in sentence(ValueError, ldvae.write_report, fit, cells[:, :2], **by)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_is_a_sentence_and_no_file(tmp_path):
    code = """
        import sys; sys.modules["matplotlib"] = None
        import ldvae
        cells = ldvae.simulate_counts(n_cells=60, n_genes=30, n_populations=2, program_size=3)
        fit = ldvae.fit_ldvae(cells, n_latent=2, max_epochs=1, progress=False)
        try: ldvae.write_report(fit, cells, groupby="population", path=sys.argv[1])
        except ImportError as error: print(error)
    """
    assert child(code, tmp_path / "x").stdout == "Plots need matplotlib: pip install 'ldvae[plot]'.\n"
    assert list(tmp_path.iterdir()) == []
