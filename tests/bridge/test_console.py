"""R as people run it: at a terminal, as a script, in loops and handlers; interrupted, and what is left after it."""

import os
import pty
import select
import signal
import subprocess
import textwrap
import time
from random import Random

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


def test_questions_show_how_far_they_are_and_leave_nothing(console):
    console.send("fit <- fit_ldvae(sce, max_epochs = 2, progress = FALSE)")
    console.send('programs <- population_programs(fit, sce, groupby = "population"); cat("do", "ne\\n", sep = "")')
    said = console.until("done")
    assert "local models:" in said and "programs:" in said
    last = said[: said.rindex("done")].rsplit("\r", 2)
    assert last[-1].strip() == "" and "%" not in last[-1]  # the bar is wiped out


def test_the_session_survives_an_interrupt_at_any_moment(console):
    random = Random(0)
    for _ in range(30):
        console.send("fit <- fit_ldvae(sce[1:100, 1:300], max_epochs = 50000, early_stopping = FALSE)")
        for _ in range(random.randint(1, 6)):
            console.until("ELBO per cell")
        time.sleep(random.uniform(0, 0.03))  # an epoch or two: any moment in one
        os.write(console.terminal, b"\x03")
        console.until("Interrupted: this is the fit of the best epoch so far")
    console.send('cat(fit_ldvae(sce, max_epochs = 2, progress = FALSE)$settings$stopped, "again\\n")')
    console.until("finished again")


def test_an_interrupt_of_anything_else_returns_to_the_prompt(console):
    console.send('cat("g", "o\\n", sep = ""); x <- simulate_counts(n_cells = 50000, n_genes = 2000)')
    console.until("go")
    time.sleep(0.2)  # it takes seconds, most of them in Python
    os.write(console.terminal, b"\x03")
    console.until("> ", 60)
    console.send('cat(exists("x"), exists("sce"), "\\n")')
    console.until("FALSE TRUE")


def script(code, *arguments):
    """A running Rscript."""
    return subprocess.Popen(
        ["Rscript", "--vanilla", "-e", "suppressMessages(library(ldvae))", "-e", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


STOPPED = """
    sce <- simulate_counts(n_cells = 200, n_genes = 60, program_size = 6)
    reticulate::py_run_string("from ldvae.model import training; training._SAVE_EVERY = -1.0")
    fit <- fit_ldvae(sce, max_epochs = 1e6, early_stopping = FALSE, checkpoint = commandArgs(TRUE))
    again <- fit_ldvae(sce, max_epochs = 2)
    cat(fit$settings$stopped, nrow(get_latent(fit)), max(get_history(fit)$epoch) < 1e6, again$settings$stopped)
"""


def test_a_script_that_is_stopped_goes_on_with_the_best_fit_so_far(tmp_path):
    path = tmp_path / "state"
    running = script(STOPPED, str(path))
    while not path.exists():  # some epochs are done
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said, also = running.communicate(timeout=120)
    assert said == "interrupted 200 TRUE finished"
    assert also == f"Interrupted: this is the fit of the best epoch so far, number {also.split()[-1]}\n"


AROUND = """
    sce <- simulate_counts(n_cells = 200, n_genes = 60, program_size = 6, n_populations = 2)
    q <- function(...) fit_ldvae(sce, n_latent = 3, n_hidden = 8, max_epochs = 2, ...)$settings$stopped
    wrong <- function() q(seed = -1)
    deep <- function(n) if (n == 0) q() else deep(n - 1)
    later_on <- function(f) {
      later::later(function() found <<- f(), 0)
      while (!later::loop_empty()) later::run_now(1)
      found
    }
    on_exit <- function() {
      on.exit(found <<- q())
      stop("something else")
    }
    said <- c(
      nested = deep(200),
      timed = {system.time(found <- q()); found},
      handled = withCallingHandlers(q(), condition = function(c) stop("nothing was to be said")),
      strict = {options(warn = 2); q()},
      written = {capture.output(found <- q()); found},
      applied = unique(vapply(1:2, function(s) q(seed = s), "")),
      leaving = {try(on_exit(), silent = TRUE); found},
      unread = {delayedAssign("lazy", q()); lazy},
      called = do.call("fit_ldvae", list(sce, n_latent = 3, n_hidden = 8, max_epochs = 2))$settings$stopped,
      in_a_loop = if (requireNamespace("later", quietly = TRUE)) later_on(q) else "finished",
      after_an_error_there = if (requireNamespace("later", quietly = TRUE)) {
        try(later_on(wrong), silent = TRUE)
        later_on(q)
      } else "finished"
    )
    errors <- vapply(1:50, function(i) tryCatch(wrong(), error = conditionMessage), "")
    cat(toString(names(said)[said != "finished"]), unique(errors), length(errors), q(), sep = "|")
"""


FORKED = """
    sce <- simulate_counts(n_cells = 100, n_genes = 30, program_size = 6, n_populations = 2)
    q <- function(...) fit_ldvae(sce, n_latent = 3, n_hidden = 8, max_epochs = 2)$settings$stopped
    said <- parallel::mclapply(1:2, function(i) tryCatch(q(), error = conditionMessage), mc.cores = 2)
    cat(unique(unlist(said)), q(), sep = "|")
"""
REFUSED = (
    "This is a forked process, in which torch would hang with several threads; start the worker afresh "
    "(parallel::makeCluster), or start R with the environment variable OMP_NUM_THREADS=1."
)


@pytest.mark.parametrize(("threads", "said"), [("1", "finished"), ("2", REFUSED)])
def test_forked_workers(threads, said, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert script(FORKED).communicate(timeout=300)[0] == f"{said}|finished"


def test_loops_handlers_and_fifty_errors():
    said, also = script(AROUND).communicate(timeout=300)
    assert said == "|`seed` must be a whole number of at least 0 and at most 4294967295, not -1.|50|finished"
    assert also == ""


def test_matrices_are_multiplied_by_the_same_library_as_in_python():
    """torch's, not the linear algebra of R, which may be many times as slow: on Linux it would stand in for torch's."""
    product = """
    import numpy, torch
    draw = numpy.random.default_rng(0).standard_normal
    found = (torch.from_numpy(draw((64, 3000), "f")) @ torch.from_numpy(draw((3000, 32), "f"))).numpy().tobytes().hex()
    """
    here = {}
    exec(textwrap.dedent(product), here)
    code = f"""invisible(engine_available())
    reticulate::py_run_string('{textwrap.dedent(product)}'); cat(reticulate::py$found)"""
    said, problem = script(code).communicate(timeout=90)
    assert said == here["found"], problem
