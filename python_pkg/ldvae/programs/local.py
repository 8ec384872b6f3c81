"""A count model of one population, in which programs are learnt, scored and tested.

log mu_cg = size_c + offset_cg + i_g + sum_j L_gj t_cj with negative binomial counts: `L` (genes × programs) are
natural-log units per standard deviation of the activity t. Three rules keep its numbers honest:

* the activity that meets a gene's counts was scored without that gene (five folds of genes), so slopes are neither
  attenuated nor self-fulfilling;
* loadings are learnt on one half of the cells and measured on the other;
* the size of a cell is fitted with the weights of the likelihood, and programs are scored orthogonally to it, so that
  depth, and the noise of the total when a few overdispersed genes make it up, is not mistaken for a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..machine.arithmetic import exp_, narrow_product
from ..machine.memory import IN_CACHE
from .activities import Scores, as_tensor, features, information_and_gradient, posterior_scores, weighted_mean
from .evidence import Slopes, VarianceTest, pair_variance

__all__ = ["Local"]

N_FOLDS = 5  # of genes: a score without one of them keeps four fifths of what the counts tell
_STEPS = 4  # of Fisher scoring
_ROUGH = (2, 0.2)  # steps of scoring, and the last of a regression, while a loading is still being learnt
_SETTLED = 0.03  # a step as small as this is followed by one of about its square
_STILL = 1e-3  # mean square of a step of the activities, after which the next one is of no account
_LOG_MEAN = (-30, 12)  # of a count, bounded so that a step too far stays finite
_NOTHING = 1e-5  # share of a loading beyond the nuisance that is rounding
_RIDGE = 0.1  # on slopes: keeps a gene with a handful of counts finite
_BLOCK_COUNTS = 10.0  # pseudo-counts behind a block's own intercept: a normal prior of sd 0.3 on the log scale


def _blocks(n: int, width: int) -> list[slice]:
    """The first axis of an n × width array in pieces that fit into the cache."""
    step = max(1, IN_CACHE // max(width, 1))
    return [slice(start, start + step) for start in range(0, n, step)]


@dataclass(frozen=True)
class Local:
    """Counts of one population and what is held fixed in it.

    `x`, `offset` (n × genes; the offset holds log library size and covariate effects), `theta` (genes), `nuisance`
    (genes × q: loadings of programs that are held fixed), `folds` (slices of genes), `blocks` (n, or None: samples and
    batches, each with its own intercept per gene), `intercept` (genes), `adjusted` (offset with those of the blocks).
    """

    x: Tensor
    offset: Tensor
    theta: Tensor
    nuisance: Tensor
    blocks: np.ndarray | None
    intercept: Tensor
    adjusted: Tensor

    @staticmethod
    def build(x: np.ndarray, offset: np.ndarray, theta: np.ndarray, blocks: np.ndarray | None) -> Local:
        """From dense counts and offsets (n × genes, in random order) and dispersions (genes); without nuisance."""
        local = Local(
            x=as_tensor(x),
            offset=as_tensor(offset),
            theta=as_tensor(theta),
            nuisance=torch.zeros(x.shape[1], 0),
            blocks=blocks,
            intercept=torch.zeros(x.shape[1]),
            adjusted=torch.zeros(0),
        )
        return local._centred()

    @property
    def folds(self) -> list[slice]:
        """Genes of each fold."""
        edges = np.linspace(0, self.x.shape[1], N_FOLDS + 1).astype(int)
        return [slice(int(i), int(j)) for i, j in pairwise(edges)]

    def cells(self, rows: np.ndarray) -> Local:
        """Some of the cells, with intercepts of their own."""
        index = torch.from_numpy(rows)
        blocks = None if self.blocks is None else self.blocks[rows]
        return replace(self, x=self.x[index], offset=self.offset[index], blocks=blocks)._centred()

    def given(self, nuisance: np.ndarray) -> Local:
        """The same cells with other fixed programs (genes × q)."""
        return replace(self, nuisance=as_tensor(nuisance))

    def _centred(self) -> Local:
        intercept = ((self.x.sum(0) + 0.5) / (self.offset.exp().sum(0) + 1e-9)).log()
        adjusted = self.offset
        if self.blocks is not None:
            adjusted = self.offset.clone()
            mu = (self.offset + intercept).exp()
            for block in np.unique(self.blocks):
                rows = torch.from_numpy(np.flatnonzero(self.blocks == block))
                seen, expected = self.x[rows].sum(0), mu[rows].sum(0)
                adjusted[rows] += ((seen + _BLOCK_COUNTS) / (expected + _BLOCK_COUNTS)).log()
            intercept = ((self.x.sum(0) + 0.5) / (adjusted.exp().sum(0) + 1e-9)).log()
        return replace(self, intercept=intercept, adjusted=adjusted)

    @cached_property
    def null(self) -> Scores:
        """Activities of the nuisance alone."""
        return self.score(self.nuisance, self.intercept)

    def _derivatives(
        self, intercept: Tensor, size: Tensor, activity: Tensor, loadings: Tensor
    ) -> tuple[Tensor, Iterator[tuple[slice, Tensor, Tensor]]]:
        """The intercepts, refitted, and in blocks of cells (rows, e, w).

        e = (x - mu) theta / (theta + mu) and w = mu theta / (theta + mu) (rows × genes) are first and minus expected
        second derivative of the log-likelihood by log mu. Refitted, since a gene that responds to an activity has a
        higher mean than at activity zero (log-normal); an intercept that kept this would pull every activity to zero.
        """
        cells = torch.cat([activity, size, torch.ones_like(size)], 1)
        genes = torch.cat([loadings, torch.ones(len(loadings), 1), intercept[:, None]], 1).T
        mu, expected = torch.empty_like(self.x), torch.zeros(self.x.shape[1])
        for rows in _blocks(*self.x.shape):
            block = torch.addmm(self.adjusted[rows], cells[rows], genes, out=mu[rows])
            expected += exp_(block.clamp_(*_LOG_MEAN)).sum(0)
        excess = (self._seen + 0.5) / (expected + 0.5)

        def blocks() -> Iterator[tuple[slice, Tensor, Tensor]]:
            for rows in _blocks(*self.x.shape):
                block = mu[rows].mul_(excess)
                r = self.theta / (self.theta + block)
                yield rows, (self.x[rows] - block).mul_(r), block.mul_(r)

        return intercept + excess.log(), blocks()

    def _moments(
        self, intercept: Tensor, size: Tensor, activity: Tensor, loadings: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """e and w of all cells (n × genes), and the intercepts, refitted; see `_derivatives`."""
        intercept, blocks = self._derivatives(intercept, size, activity, loadings)
        _, e, w = zip(*blocks, strict=True)
        return torch.cat(e), torch.cat(w), intercept

    def _sums(
        self, intercept: Tensor, size: Tensor, activity: Tensor, loadings: Tensor, columns: Tensor, folds: list[slice]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """w and e summed over the genes of each fold with `columns` (n × folds × columns), and the intercepts."""
        n, q = activity.shape
        by_w, by_e = torch.empty(n, len(folds), columns.shape[1]), torch.empty(n, len(folds), 1 + q)
        intercept, blocks = self._derivatives(intercept, size, activity, loadings)
        for rows, e, w in blocks:
            for f, genes in enumerate(folds):
                by_w[rows, f] = narrow_product(w[:, genes], columns[genes])
                by_e[rows, f] = narrow_product(e[:, genes], columns[genes, : 1 + q])
        return by_w, by_e, intercept

    @cached_property
    def _seen(self) -> Tensor:
        return self.x.sum(0)

    def score(self, loadings: Tensor, intercept: Tensor, own_first: bool = False, steps: int = _STEPS) -> Scores:
        """Activities of programs by Fisher scoring, with the variance of each estimated in these cells.

        Parameters
        ----------
        loadings
            Genes × q; posterior means, so that what they predict is not attenuated by their own uncertainty.
        own_first
            The first column is this population's own: its activity is made uncorrelated with the others, since
            otherwise a mixture of own and shared programs would explain more than the own one.
        """
        n, q = len(self.x), loadings.shape[1]
        size, t = torch.zeros(n, 1), torch.zeros(n, q)
        columns, eye, whole = features(loadings), torch.eye(q), [slice(None)]
        for _ in range(steps):
            by_w, by_e, intercept = self._sums(intercept, size, t, loadings, columns, whole)
            total, mean = weighted_mean(by_w[:, 0], q)
            information, gradient = information_and_gradient(by_w[:, 0], by_e[:, 0], mean)
            step = torch.linalg.solve(information + eye, (gradient - t).unsqueeze(-1)).squeeze(-1)
            # unclipped steps diverge for cells with few counts
            step = step / step.abs().amax(1, keepdim=True).clamp(min=1.0) if q else step
            larger = (by_e[:, 0, :1] / total - (mean * step).sum(1, keepdim=True)).clamp(-1, 1)
            size, t = size + larger, t + step
            if float(larger.square().mean()) < _STILL and float(step.square().mean() if q else 0.0) < _STILL:
                break
        by_w, by_e, _ = self._sums(intercept, size, t, loadings, columns, self.folds)
        _, mean = weighted_mean(by_w.sum(1), q)
        by_fold, gradient = information_and_gradient(by_w, by_e, mean[:, None])  # (n, folds, q, q)
        natural = torch.einsum("nfij,nj->nfi", by_fold, t) + gradient
        return posterior_scores(by_fold, natural, size, own_first)

    def regress(self, activity: Tensor, size: Tensor, settled: float = _SETTLED) -> Slopes:
        """Negative binomial regression of each gene on the activities scored without its fold (n × folds × q)."""
        n_genes, q = self.x.shape[1], activity.shape[2]
        slope, se, intercept = np.zeros((n_genes, q)), np.zeros((n_genes, q)), self.intercept.clone()
        ridge = torch.diag(torch.tensor([1e-4] + [_RIDGE] * q))
        base = self.adjusted + size
        for f, fold in enumerate(self.folds):
            a = activity[:, f] - activity[:, f].mean(0)
            design = torch.cat([torch.ones(len(a), 1), a], 1)
            products = (design[:, :, None] * design[:, None]).flatten(1)
            for part in _blocks(fold.stop - fold.start, len(a)):
                genes = slice(fold.start + part.start, min(fold.start + part.stop, fold.stop))
                # genes × cells, so that each pass over them runs through memory in one piece
                x, offset = self.x[:, genes].T.contiguous(), base[:, genes].T.contiguous()
                theta, start = self.theta[genes, None], self.intercept[genes]
                beta = torch.zeros(len(start), q + 1)
                beta[:, 0] = start
                for _ in range(_STEPS + 1):
                    mu = exp_(torch.addmm(offset, beta, design.T).clamp_(*_LOG_MEAN))
                    r = theta / (theta + mu)
                    hessian = narrow_product(mu * r, products).reshape(-1, q + 1, q + 1) + ridge
                    gradient = narrow_product((x - mu).mul_(r), design) - beta * ridge.diagonal()
                    gradient[:, 0] += start * ridge[0, 0]
                    step = torch.linalg.solve(hessian, gradient.unsqueeze(-1)).squeeze(-1)
                    beta = beta + step.clamp_(-1, 1)
                    if float(step.abs().max()) < settled:
                        break
                # the last step moved little: mu, r and the Hessian are those of the estimate
                overdispersion = ((x - mu).square() * r / mu).sum(1) / max(len(a) - q - 1, 1)
                variance = torch.linalg.inv(hessian).diagonal(dim1=1, dim2=2)[:, 1:].clamp(min=1e-10)
                slope[genes], intercept[genes] = beta[:, 1:].double().numpy(), beta[:, 0]
                se[genes] = (variance.sqrt() * overdispersion.clamp(min=1).sqrt()[:, None]).double().numpy()
        return Slopes(slope, se, intercept)

    def first_direction(self, seed: int) -> Tensor:
        """Scores (n) of the first singular direction of clipped Pearson residuals given the nuisance: a start."""
        null = self.null
        e, w, _ = self._moments(self.intercept, null.size, null.full * null.scale, self.nuisance)
        # e / sqrt(w) is the Pearson residual: Var(e) = w
        residual = (e / (w + 1e-2).sqrt()).clamp_(-6, 6)
        residual -= residual.mean(0)
        basis = torch.randn(len(residual), 4, generator=torch.Generator().manual_seed(seed))
        for _ in range(12):
            basis, _ = torch.linalg.qr(narrow_product(residual, narrow_product(residual.T, basis)))
        left, _, _ = torch.linalg.svd(basis.T @ residual, full_matrices=False)
        return (basis @ left[:, 0]) * len(residual) ** 0.5

    def learn(self, seed: int, rounds: int = 2) -> Tensor:
        """Loading (genes) of one program given the nuisance, from the leading direction of what that leaves."""
        steps, settled = _ROUGH
        own = self.first_direction(seed)[:, None, None].expand(-1, N_FOLDS, 1)
        slopes = self.regress(torch.cat([own, self.null.left_out], 2), self.null.size, settled)
        for _ in range(rounds):
            columns = self.with_own(as_tensor(slopes.shrunk(0).mean))
            scores = self.score(columns, slopes.intercept, own_first=True, steps=steps)
            slopes = self.regress(scores.left_out, scores.size, settled)
        return as_tensor(slopes.shrunk(0).mean)

    def with_own(self, loading: Tensor) -> Tensor:
        """Loadings with one program before the nuisance (genes × (1 + q))."""
        return torch.cat([loading[:, None], self.nuisance], 1)

    def associate(self, loading: Tensor) -> Slopes:
        """Slopes of every gene on the activity of one program (first column), the nuisance beside it."""
        scores = self.score(self.with_own(loading), self.intercept, own_first=True)
        return self.regress(scores.left_out, scores.size)

    def variance_test(self, loading: Tensor) -> VarianceTest:
        """Test of a loading learnt on other cells.

        u_c = sum_g y_cg with y_cg = e_cg l_cg, where l_c is the loading made orthogonal (weights w) to cell size and
        nuisance. If genes vary independently given the model, E[u²] = sum_g E[y²]; their ratio summed over cells is
        compared with a scaled chi-squared whose degrees of freedom match the variance (Satterthwaite).
        """
        y, square, _ = next(self._along([loading]))
        return VarianceTest.of(y, square)

    def variances(self, loadings: list[Tensor]) -> list[tuple[float, float]]:
        """Variance of the activity of each loading (learnt on other cells), one at a time, and its standard error.

        From pairs of different genes alone, E[y_cg y_ch] = Var(t) i_cg i_ch with i = w l², so that nothing is assumed
        of the noise of a gene: without a program it is zero on average, and may be below.
        """
        return [pair_variance(*parts) for parts in self._along(loadings)]

    def _along(self, loadings: list[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each loading y of `variance_test`, its expected squares, and what genes know of it (n × genes)."""
        null = self.null
        e, w, _ = self._moments(self.intercept, null.size, null.full * null.scale, self.nuisance)
        space = torch.cat([torch.ones(w.shape[1], 1), self.nuisance], 1)
        q = space.shape[1]
        products = (space[:, :, None] * space[:, None]).flatten(1)
        gram = narrow_product(w, products).reshape(-1, q, q) + 1e-6 * torch.eye(q)
        # fitting size and nuisance to the same counts shrinks residuals by their leverage
        leverage = w * (torch.linalg.inv(gram).flatten(1) @ products.T)
        kept = 1 - leverage.clamp_(0, 0.9)
        e -= e.mean(0)
        for loading in loadings:
            along = torch.linalg.solve(gram, narrow_product(w, space * loading[:, None]).unsqueeze(-1)).squeeze(-1)
            orthogonal = loading - along @ space.T
            y, information = e * orthogonal, w * orthogonal.square()
            # what the nuisance spans is rounding
            known = float(information.sum() > _NOTHING * (w.sum(0) * loading.square()).sum())
            yield y * known, known * y.square() / kept, known * information
