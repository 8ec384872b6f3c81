"""R at a terminal: progress, Ctrl-C, and what is left after it."""

import os
import pty
import select
import subprocess
import time

import pytest


class Console:
    """An interactive R on a terminal of its own."""

    def __init__(self):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe("R", ["R", "--vanilla", "--quiet", "--interactive"], os.environ | {"TERM": "dumb"})
        self.until("> ")

    def send(self, line):
        os.write(self.terminal, line.encode() + b"\n")

    def until(self, text, seconds=90.0):
        """What R writes until `text` comes."""
        got, end = "", time.monotonic() + seconds
        while text not in got:
            assert time.monotonic() < end, f"R did not say {text!r}, but {got[-2000:]!r}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                got += os.read(self.terminal, 65536).decode(errors="replace")
        return got

    def close(self):
        os.close(self.terminal)
        subprocess.run(["kill", "-9", str(self.pid)], check=False)
        os.waitpid(self.pid, 0)


@pytest.fixture
def console():
    # what is sent is echoed: the words that are waited for are put together by R
    r = Console()
    r.send(
        "suppressMessages(library(ldvae)); sce <- simulate_counts(n_cells = 1000, n_genes = 300); "
        'cat("rea", "dy\\n", sep = "")'
    )
    r.until("ready")
    yield r
    r.close()


def test_progress_shows_and_an_interrupt_returns_the_best_fit_so_far(console):
    console.send("fit <- fit_ldvae(sce, max_epochs = 50000, early_stopping = FALSE)")
    assert "ldvae:" in console.until("/50000")
    console.until(" 20/50000")
    os.write(console.terminal, b"\x03")
    said = console.until("Interrupted: this is the fit of the best epoch so far", 30)
    assert "Traceback" not in said
    console.send('cat(fit$settings$stopped, nrow(get_latent(fit)), sum(get_factors(fit)$active) > 0, "\\n")')
    console.until("interrupted 1000 TRUE")
    # the session is as good as before
    console.send("again <- fit_ldvae(sce, max_epochs = 2, progress = FALSE); again$settings$stopped")
    assert "ldvae:" not in console.until('"finished"')


def test_an_interrupt_of_anything_else_returns_to_the_prompt(console):
    console.send("x <- simulate_counts(n_cells = 50000, n_genes = 2000)")
    time.sleep(2)
    os.write(console.terminal, b"\x03")
    console.until("> ", 60)
    console.send('cat(exists("x"), exists("sce"), "\\n")')
    console.until("FALSE TRUE")
