"""What several test files ask: is the object as it was, is this error one sentence of ours?"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import textwrap
import time
import traceback
import warnings
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from ldvae.machine import sparse
from ldvae.stats.moderation import moderated_contrast
from ldvae.stats.replicates import equally_known, sample_design

PACKAGE = str(Path(ldvae.__file__).parent)
OLD = sorted((Path(__file__).parent / "data").glob("fit-*.safetensors"))  # a fit of each version, by age


def sentence(error, call, *args, **kwargs):
    """What a call that is refused says."""
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def same(first, second):
    """Two trainings are the same to the last bit."""
    one, two = first.model.state_dict(), second.model.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        assert np.array_equal(one[name], two[name]), name
    for name in first.history:
        assert np.array_equal(first.history[name], second.history[name]), name


def annotated(**obs):
    """Cells with these annotations, and one count each."""
    n = len(next(iter(obs.values())))
    return ad.AnnData(np.ones((n, 1)), obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n)]))


def header_of(raw):
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_header(header, body):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


LABELS = {
    "P0": "<b>&\"'</b>",
    "P1": "</script><script>alert(1)</script>",
    "P2": "plain",
}  # of populations, to be escaped


class Reader(HTMLParser):
    """Texts of headings and cells, kinds of tags, and attributes that a browser would follow."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.headings, self.rows, self.links = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "action", "srcset", "data")]
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif "h2" in self.open:
            self.headings[-1] += data


def fingerprint(value, digest=None):
    """Of an AnnData, table, array or nest of them: every bit of every array, every name, every type."""
    top = digest is None
    digest = hashlib.sha256() if top else digest
    if hasattr(value, "obsm"):
        x = None if value.isbacked else value.X
        parts = (x, value.obs, value.var, dict(value.obsm), dict(value.varm), dict(value.layers), dict(value.uns))
        value = (*parts, value.shape)
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        digest.update(
            repr((type(value).__name__, str(value.dtypes if isinstance(value, pd.DataFrame) else value.dtype))).encode()
        )
        columns = value.items() if isinstance(value, pd.DataFrame) else [("", value)]
        for name, column in columns:
            kind = getattr(column, "cat", None)
            digest.update(repr((name, None if kind is None else list(kind.categories), list(column))).encode())
        if not isinstance(value, pd.Index):
            digest.update(repr(list(value.index)).encode())
    elif sp.issparse(value):
        fingerprint((value.format, value.shape, value.data, value.indices, value.indptr), digest)
    elif isinstance(value, np.ndarray):
        digest.update(repr((value.dtype, value.shape, value.flags.writeable)).encode())
        digest.update(repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict | list | tuple):
        digest.update(type(value).__name__.encode())
        for part in value.items() if isinstance(value, dict) else value:
            fingerprint(part, digest)
    else:
        digest.update(repr(value).encode())
    return digest.hexdigest() if top else None


def is_sentence(error):
    """Whether an error is one documented sentence that the engine itself raised."""
    text = str(error)
    ours = traceback.extract_tb(error.__traceback__)[-1].filename.startswith(PACKAGE)
    documented = type(error) in (ValueError, TypeError, OSError)
    # a quoted name may hold a full stop, a sentence of ours has one at its end only
    return (
        ours and documented and "\n" not in text and text.endswith(".") and not text.endswith("..") and len(text) < 800
    )


UNMEASURED = ("reliability", "pval", "kl")  # of directions that are no factors


BY_SAMPLES = ("pval", "padj")  # of differential expression without samples


def assert_finite(table, but=()):
    """A table of plain columns; its numbers are finite except in the columns `but`, which may hold NaN."""
    assert isinstance(table, pd.DataFrame) and isinstance(table.index, pd.RangeIndex)
    for name, column in table.items():
        assert column.dtype.kind in "fibO", (name, column.dtype)
        if column.dtype.kind == "f":
            values = column.to_numpy()
            assert not np.isinf(values).any(), name
            without = name in BY_SAMPLES and "n_samples2" in table and (table["n_samples1"] == 0).all()
            assert name in but or without or not np.isnan(values).any(), name


def all_stored(x):
    """A sparse matrix that stores every entry, zeros too."""
    n, m = x.shape
    return sp.csr_matrix((x.ravel(), np.tile(np.arange(m), n), np.arange(0, x.size + 1, m)), shape=x.shape)


def gathered(monkeypatch, x, share, step=100):
    """Counts as they are gathered, in memory or beyond this share of it on disk."""
    monkeypatch.setattr(sparse, "_SHARE", share)
    found = sparse.Gathered(x.shape[1])
    for start in range(0, len(x), step):
        found.add(sp.csr_matrix(x[start : start + step]))
    return found.matrix()


def with_counts(change):
    """The object with its counts as a dense float matrix that `change` alters, or replaces by what it returns."""

    def make(adata):
        found = adata.copy()
        x = found.X.toarray().astype(float)
        changed = change(x)
        found.X = x if changed is None else changed
        return found

    return make


def put(value, where=(0, 0)):
    return with_counts(lambda x: x.__setitem__(where, value))


def broken(attribute, where, value, kind="csr"):
    """Sparse counts with one wrong number among their indices."""

    def make(adata):
        found = adata.copy()
        x = found.X.asformat(kind).copy()
        getattr(x, attribute)[where] = value
        found.X = x
        return found

    return make


def labelled(column, make):
    def changed(adata):
        found = adata.copy()
        found.obs[column] = make(found.n_obs)
        return found

    return changed


def repeated(attribute):
    def make(adata):
        found = adata.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setattr(found, attribute, ["same"] * len(getattr(found, attribute)))
        return found

    return make


def without_x(adata):
    return ad.AnnData(obs=adata.obs, var=adata.var)


def twice(adata):
    found = adata.copy()
    found.obs = pd.concat([found.obs, found.obs], axis=1)
    return found


def mutations(raw, path, n, seed):
    """Write `n` damaged copies of a saved fit and load each: refused with a sentence, or the very same fit.

    Returns how many were refused and the longest time. Time and memory are bounded.
    """
    rng, whole = np.random.default_rng(seed), fingerprint_of_fit(ldvae.load_fit(written(path, raw)))
    header = 8 + int.from_bytes(raw[:8], "little")
    refused, longest = 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(n):
        changed = written(path, _mutated(raw, header, rng))
        started = time.perf_counter()
        try:
            found = ldvae.load_fit(changed)
        except (ValueError, OSError) as error:
            assert is_sentence(error), str(error)
            refused += 1
        else:
            assert fingerprint_of_fit(found) == whole
        longest = max(longest, time.perf_counter() - started)
    assert longest < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    return {"refused": refused, "longest": longest}


def written(path, raw):
    path.write_bytes(raw)
    return path


def fingerprint_of_fit(fit):
    return fingerprint({f.name: getattr(fit, f.name) for f in fields(fit)})


def _mutated(raw, header, rng):
    """One to four changes: bits, bytes, numbers of the header, cuts, repeats, swaps, other lengths."""
    data = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        # half of the changes hit the header, where they do most
        at = int(rng.integers(0, header if rng.random() < 0.5 else max(1, len(data)))) % max(1, len(data))
        size = int(rng.integers(1, 64))
        match int(rng.integers(0, 9)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + size] = rng.bytes(size)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                del data[at:]
            case 5:
                data[:8] = int(rng.integers(0, 2**63)).to_bytes(8, "little")
            case 6:  # another number in the header
                digits = [i for i in range(8, min(header, len(data))) if chr(data[i]).isdigit()]
                if digits:
                    data[digits[int(rng.integers(len(digits)))]] = ord(str(rng.integers(10)))
            case 7:
                data += rng.bytes(size)
            case _:
                other = int(rng.integers(0, max(1, len(data) - size)))
                data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]
        if not data:
            break
    return bytes(data)


def child(code, *arguments, **environment):
    """Run code in a process of its own, with the package on its path."""
    environment = os.environ | {"PYTHONPATH": str(Path(PACKAGE).parent), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


# In a process of its own, since it kills its children by SIGKILL at random moments.
KILLED = """
    import json, os, random, signal, sys, time
    import numpy as np
    import ldvae
    from ldvae.model import training as train

    random.seed(0)
    path, wanted = sys.argv[1], int(sys.argv[2])

    def killed(work, most_writes):
        # at a random moment after it has written the file a random number of times, however fast the machine is
        wait, seen = random.randint(0, most_writes), 0
        before = os.path.exists(path) and os.stat(path).st_ino
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        deadline = time.monotonic() + 60
        while seen < wait and time.monotonic() < deadline:
            now = os.path.exists(path) and os.stat(path).st_ino
            seen, before = seen + (now != before), now
            time.sleep(0.0005)
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
"""
KILLED_SAVES = (
    KILLED
    + """
    from dataclasses import replace
    fit = ldvae.load_fit(path)
    fits = [replace(fit, info=fit.info | {"seed": seed}) for seed in (1, 2)]

    def work():
        while True:
            for each in fits:
                ldvae.save_fit(each, path)

    n = 0
    for _ in range(wanted):
        n += killed(work, 5)
        assert ldvae.load_fit(path).info["seed"] in (0, 1, 2)
    print(json.dumps({"killed": n}))
"""
)
KILLED_FITS = (
    KILLED
    + """
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
    settings = dict(n_latent=3, n_hidden=8, max_epochs=int(sys.argv[3]), batch_size=32, device="cpu", progress=False,
                    early_stopping=False)
    train._SAVE_EVERY = -1.0
    whole = ldvae.fit_ldvae(adata, **settings)
    n, lives, epochs = 0, 0, []
    while n < wanted:
        most = settings["max_epochs"] // (3 * wanted)
        n += killed(lambda: ldvae.fit_ldvae(adata, checkpoint=path, **settings), most)
        lives += 1
        assert lives < 3 * wanted, "it finishes before it is killed"
    again = ldvae.fit_ldvae(adata, checkpoint=path, **settings)
    assert again.info == whole.info
    for name in ("weights", "history", "factors"):
        for key, value in getattr(whole, name).items():
            assert np.array_equal(value, getattr(again, name)[key], equal_nan=True), key
    assert np.array_equal(whole.latent_mean, again.latent_mean)
    print(json.dumps({"killed": n, "lives": lives}))
"""
)

MANY_FITS = """
    import gc, json, os, sys
    import ldvae

    def footprint():
        gc.collect()
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return {"memory": 1024 * int(status["VmRSS"].split()[0]), "threads": int(status["Threads"]),
                "handles": len(os.listdir("/proc/self/fd"))}

    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)

    def once():
        fit = ldvae.fit_ldvae(adata, n_latent=3, n_hidden=8, max_epochs=5, batch_size=32, progress=False)
        ldvae.population_loadings(fit, adata, groupby="population", kind="between")
        ldvae.differential_expression(fit, adata, groupby="population")

    for _ in range(10):  # caches fill
        once()
    before = footprint()
    for _ in range(int(sys.argv[1])):
        once()
    after = footprint()
    print(json.dumps({name: after[name] - before[name] for name in before}))
"""


def two_groups(y1, samples1, y2, samples2):
    """Moderated t tests of two groups of samples that are equally known, as factors are tested."""
    y, x = np.vstack([y1, y2]), np.repeat([1.0, 0.0], [len(y1), len(y2)])
    found = sample_design(x, [*samples1, *samples2])
    rows, design = equally_known(y, found)
    return moderated_contrast(rows, design, found.contrast)
