"""Writes fit-<version>.safetensors, which every later version must open; run once per version that changes files.

python tests/data/make_fit.py
"""

from pathlib import Path

import ldvae

adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
fit = ldvae.fit_ldvae(
    adata, batch_key="batch", n_latent=3, n_hidden=8, max_epochs=40, batch_size=32, seed=0, device="cpu"
)
ldvae.save_fit(fit, Path(__file__).with_name(f"fit-{ldvae.__version__}.safetensors"))
