"""Work that is cut short: Ctrl-C gives the best state, a killed process continues to the very same result."""

from __future__ import annotations

import json

from support import KILLED_FITS, child

CTRL_C = """
    import os, signal, sys, threading, time
    import ldvae
    signal.signal(signal.SIGINT, signal.default_int_handler)
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)

    def interrupt():
        while not os.path.exists(sys.argv[1]):  # the first checkpoint: some epochs are done
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    from ldvae import train
    train._SAVE_EVERY = 0.2
    threading.Thread(target=interrupt, daemon=True).start()
    fit = ldvae.fit_ldvae(adata, n_latent=3, n_hidden=8, max_epochs=1_000_000, batch_size=32, device="cpu",
                          early_stopping=False, checkpoint=sys.argv[1], progress=False)
    history = ldvae.get_history(fit)
    best = history["elbo_validation"].idxmax() + 1
    print(fit.info["stopped"], fit.info["best_epoch"] == best, len(history) > 1, len(history) < 1_000_000)
    ldvae.save_fit(fit, sys.argv[1] + ".fit")
    again = ldvae.load_fit(sys.argv[1] + ".fit")
    print(again.info["stopped"], ldvae.get_latent(again, adata).notna().all(axis=None), "(interrupted)" in repr(again))
"""


def test_ctrl_c_gives_the_best_state_so_far(tmp_path):
    said = child(CTRL_C, tmp_path / "state").stdout.splitlines()
    assert said == ["interrupted True True True", "interrupted True True"]


def test_a_killed_process_continues_to_the_same_result(tmp_path):
    assert json.loads(child(KILLED_FITS, tmp_path / "state", 3, 60).stdout)["killed"] == 3
