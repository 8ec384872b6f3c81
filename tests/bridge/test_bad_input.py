"""Part of the table of tests/test_bad_input.py through R: the same sentences, in R's words; the session lives on."""

import pytest

import ldvae

# `sce` has 500 cells and 150 genes, as in conftest.py
CASES = [
    ("fit_ldvae(sce, n_latent = -1)", "not -1."),
    ("fit_ldvae(sce, n_latent = 1001)", "at most 1000, not 1001."),
    ("fit_ldvae(sce, n_latent = NaN)", "must not be NA."),
    ("fit_ldvae(sce, n_hidden = 1e12)", "bytes of memory"),
    ("fit_ldvae(sce, n_layers = 21)", "at most 20, not 21."),
    ("fit_ldvae(sce, dropout_rate = 1)", "less than 1, not 1."),
    ("fit_ldvae(sce, dropout_rate = '0.1')", "'0.1' is a character string."),
    ("fit_ldvae(sce, gene_likelihood = 'normal')", "'nb', 'zinb', 'poisson', not 'normal'."),
    ("fit_ldvae(sce, decoder = NULL)", "not NULL."),
    ("fit_ldvae(sce, max_epochs = 1.5)", "not 1.5."),
    ("fit_ldvae(sce, batch_size = 1)", "at least 2, not 1."),
    ("fit_ldvae(sce, learning_rate = 2)", "at most 1, not 2."),
    ("fit_ldvae(sce, early_stopping = 'yes')", "must be TRUE or FALSE, not 'yes'."),
    ("fit_ldvae(sce, checkpoint = '/no/such/folder/x')", "`checkpoint` must be in an existing folder"),
    ("fit_ldvae(sce, seed = -1)", "not -1."),
    ("fit_ldvae(sce, device = 'tpu')", "not 'tpu'."),
    ("get_expression(fit, sce, genes = 'G1', n_samples = 0)", "not 0."),
    ("get_expression(fit, sce, genes = 'G1', library_size = Inf)", "not Inf."),
    ("population_programs(fit, sce, groupby = 'population', n_programs = 51)", "at most 50, not 51."),
    ("get_program_scores(fit, sce, groupby = 'population', kind = 'deviation')", "no activity of their own."),
    ("differential_expression(fit, sce, groupby = 'population', delta = -1)", "at least 0, not -1."),
    ("differential_expression(fit, sce, groupby = 'population', group1 = 'P9')", "('P0', 'P1', 'P2'), not 'P9'."),
    ("differential_expression(fit, sce, groupby = 'population', n_samples = 1e12)", "at most 10000000"),
    ("associate_factors(fit, sce, key = 'nothing')", "must name a column of"),
    ("simulate_counts(amplitude = 1e30)", "at most 100"),
    ("simulate_counts(n_cells = 1e15)", "bytes of memory"),
    ("save_fit(fit, '/no/such/folder/x')", "must be in an existing folder"),
]


@pytest.mark.parametrize(("code", "says"), CASES)
def test_a_wrong_argument_gets_one_sentence(session, code, says):
    said = session.error(code)
    assert says in said and said.endswith(".") and "\n" not in said
    assert "Traceback" not in said and "None" not in said
    assert session("nrow(get_latent(fit))")[0] == 500


def test_a_file_from_python_opens_in_r_and_a_damaged_one_does_not(session, fit, tmp_path):
    ldvae.save_fit(fit, tmp_path / "fit")
    assert session(f"nrow(get_latent(load_fit('{tmp_path}/fit')))")[0] == 500
    content = bytearray((tmp_path / "fit").read_bytes())
    content[-1] ^= 1
    (tmp_path / "fit").write_bytes(content)
    assert "its checksum does not agree with its content" in session.error(f"load_fit('{tmp_path}/fit')")
