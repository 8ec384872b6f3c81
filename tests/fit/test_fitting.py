"""Fitting: what is refused, and what little is enough."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, get_factors

FIT_ERRORS = [
    (dict(n_latent=0), "`n_latent` must be a whole number of at least 1 and at most 1000, not 0."),
    (dict(n_hidden=2.5), "`n_hidden` must be a whole number of at least 1, not 2.5."),
    (dict(n_layers=-1), "`n_layers` must be a whole number of at least 1 and at most 20, not -1."),
    (dict(dropout_rate=1.0), "`dropout_rate` must be a number at least 0 and less than 1, not 1."),
    (dict(gene_likelihood="normal"), "`gene_likelihood` must be one of 'nb', 'zinb', 'poisson', not 'normal'."),
    (dict(latent_distribution="lognormal"), "`latent_distribution` must be one of 'normal', 'ln', not 'lognormal'."),
    (dict(decoder="mlp"), "`decoder` must be one of 'linear', 'nonlinear', not 'mlp'."),
    (dict(loadings_prior=None), "`loadings_prior` must be one of 'ard', 'none', not None."),
    (dict(max_epochs=0), "`max_epochs` must be a whole number of at least 1 and at most 1000000, not 0."),
    (dict(batch_size=1), "`batch_size` must be a whole number of at least 2, not 1."),
    (dict(learning_rate=0), "`learning_rate` must be a number more than 0 and at most 1, not 0."),
    (dict(validation_size=0.95), "`validation_size` must be a number at least 0 and at most 0.9, not 0.95."),
    (dict(early_stopping="yes"), "`early_stopping` must be True or False, not 'yes'."),
    (dict(progress=1), "`progress` must be True or False, not 1."),
    (dict(seed=-1), "`seed` must be a whole number of at least 0 and at most 4294967295, not -1."),
    (dict(device="tpu"), "`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not 'tpu'."),
    (dict(batch_key="lane"), "`batch_key` must name a column of adata.obs ('population', 'batch', 'sample', "
     "'treatment'), not 'lane'."),
    (dict(covariate_keys=["batch"], batch_key="batch"), "`covariate_keys` must not repeat the `batch_key` 'batch'."),
    (dict(genes=["G1", "X"]), "1 of 2 genes are not in `adata`: 'X'."),
    (dict(layer="counts"), "`layer` must be a layer of `adata`, which has none, not 'counts'."),
]  # fmt: skip


@pytest.mark.parametrize(("kwargs", "message"), FIT_ERRORS)
def test_fit_says_what_is_wrong(simulated, kwargs, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        fit_ldvae(simulated, **{"max_epochs": 1, "progress": False} | kwargs)
    assert str(caught.value) == message


def test_fit_needs_cells_to_train_on(simulated):
    with pytest.raises(ValueError) as caught:
        fit_ldvae(simulated[:2].copy(), progress=False)
    assert str(caught.value) == (
        "`adata` must have more cells to train on than 2; lower `validation_size` or add cells."
    )


def test_a_few_cells_are_enough_to_run(simulated):
    fit = fit_ldvae(simulated[:5].copy(), max_epochs=2, n_latent=2, progress=False, device="cpu")
    assert np.isfinite(fit.latent_mean).all() and len(get_factors(fit)) == 2


def test_numbers_may_come_as_r_writes_them(simulated, settings):
    few = settings | {"max_epochs": 1}
    floats = {k: float(v) if type(v) is int else v for k, v in few.items()}
    one, two = fit_ldvae(simulated, **few), fit_ldvae(simulated, seed=0.0, n_layers=1.0, **floats)
    assert one.config == two.config and np.array_equal(one.latent_mean, two.latent_mean)
