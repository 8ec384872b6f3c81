"""Whether values can be counts of molecules in cells: checked block by block, whole or close to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import checks

__all__ = ["Quality"]

_VALUES_AT_A_TIME = 1_000_000  # so that checking them takes no memory to speak of
_LARGEST = 2**24  # a float32 holds every whole number up to here
_CHANGED = 0.2  # share of all counts that rounding may change: corrected counts (SoupX, CellBender, RSEM) stay below
_MIN_PROBED = 20  # values that a cell needs to be held against one unit
_UNIT, _IN_UNITS = 1e-3, 0.98  # how close to multiples of the smallest, and what share of the values
_LOGS = 15.0  # logarithms of counts per ten thousand are smaller
_ALIKE, _MANY = 0.02, 50  # coefficient of variation of library sizes that no sequencer gives, in so many cells
_FEW, _MORE, _DEEP = 12, 1.5, 300  # largest count that is suspicious where the average is more, in such libraries


class Quality:
    """What was seen of the values of a matrix, from which follows whether they are counts.

    Whole numbers are. Others are rounded where that changes little, as corrected counts are (SoupX, CellBender, RSEM),
    and refused where they are counts divided by something, or logarithms.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.total, self.change, self.n, self.n_fractions = 0.0, 0.0, 0, 0  # of blocks with fractions
        self.smallest, self.largest = np.inf, 0.0  # above zero, and of all
        self.n_low = 0  # values above zero, while none is large

    def counts(self, values: np.ndarray, first_cells: Any = None) -> np.ndarray:
        """The values as whole numbers, the same array if they are; `first_cells` are some of them, cells × features.

        Raises
        ------
        TypeError, ValueError
            If they are no counts.
        """
        if values.dtype.kind not in "uifb":
            raise TypeError(f"`{self.where}` must hold numbers, not {values.dtype}.")
        out = values
        for start in range(0, len(values), _VALUES_AT_A_TIME):
            part = values[start : start + _VALUES_AT_A_TIME]
            low, high = float(part.min()), float(part.max())
            if not (low >= 0 and high <= _LARGEST):  # a comparison that holds is also one without NaN
                self._refuse(part)
            if not (part.dtype.kind in "uib" or bool((part == np.floor(part)).all())):
                if out is values:
                    out = values.copy()
                    if first_cells is not None:
                        self._refuse_divided(sp.csr_matrix(first_cells))
                out[start : start + len(part)] = self._rounded(part)
            self._extremes(part, low, high)
        self._refuse_changed(values)
        return out

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        rounded = np.rint(values)
        change = np.abs(values - rounded)
        self.total += float(values.sum(dtype=np.float64))
        self.change += float(change.sum(dtype=np.float64))
        self.n += int(np.count_nonzero(values))
        self.n_fractions += int(np.count_nonzero(change))
        return rounded

    def _extremes(self, values: np.ndarray, low: float, high: float) -> None:
        """What tells whole numbers that are no counts; looked for only as long as they may be none."""
        if high > 0 and self.smallest > 1:
            self.smallest = min(self.smallest, low if low > 0 else float(values[values > 0].min()))
        self.largest = max(self.largest, high)
        if self.largest <= _FEW:
            self.n_low += int(np.count_nonzero(values))

    def _refuse(self, values: np.ndarray) -> None:
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError(
                f"`{self.where}` must hold counts, but has missing values (nan), as anndata.concat(join='outer') "
                "leaves where an object lacks a gene: join='inner' keeps what all have, fill_value=0 fills in zeros."
            )
        wrong = values[(values < 0) | ~np.isfinite(values)]
        if len(wrong):
            self._no_counts(f"has the value {wrong[0]:g}")
        raise ValueError(
            f"`{self.where}` must hold counts of at most {_LARGEST:,}, but has the value {values.max():g}."
        )

    def _no_counts(self, because: str) -> None:
        raise ValueError(
            f"`{self.where}` must hold raw counts (whole numbers, zero or more), but {because}; if the counts are in a "
            "layer, name it with `layer`."
        )

    def _refuse_changed(self, values: np.ndarray) -> None:
        logs = self.n_fractions > self.n / 2 and self.largest < _LOGS
        if self.n_fractions and (self.change > _CHANGED * self.total or logs):
            example = values[values != np.rint(values)]
            has = f"has the value {example[0]:g}" if len(example) else "has fractions"
            self._no_counts(f"{has}, and rounding would change {self.change / self.total:.0%} of what it holds")

    def _refuse_divided(self, cells: sp.csr_matrix) -> None:
        """Fractions that are whole in units of their cell, as they are or as exponents: normalised counts."""
        for undo, what in ((lambda v: v, "counts"), (np.expm1, "logarithms of counts")):
            share = []
            for start, stop in zip(cells.indptr, cells.indptr[1:], strict=False):
                own = cells.data[start:stop].astype(np.float64)
                own = undo(own[own > 0]) if own.max(initial=0.0) < 50 or what == "counts" else own[:0]
                if len(own) >= _MIN_PROBED:
                    units = own / own.min()
                    share.append(np.mean(np.abs(units - np.rint(units)) < _UNIT * units))
            if len(share) and np.median(share) > _IN_UNITS:
                self._no_counts(f"has {what} that were divided by one number in each cell (normalised)")

    def say(self, library: np.ndarray) -> None:
        """Warn of what is no error but changes what is found; `library` are the totals of all cells."""
        if self.change:
            checks.warn(
                f"`{self.where}` holds fractions, which were rounded to whole counts; that changes "
                f"{self.change / max(float(library.sum()), 1e-300):.1%} of them."
            )
        doubt = ""
        if len(library) >= _MANY and library.std() < _ALIKE * library.mean():
            doubt = f"all cells have about {library.mean():,.0f} in all"
        elif 1 < self.smallest < np.inf:
            doubt = f"the smallest above zero is {self.smallest:g}"
        elif self.largest <= _FEW and library.sum() > _MORE * self.n_low and np.median(library) > _DEEP:
            doubt = f"none is above {self.largest:g} though cells have {np.median(library):,.0f} in all"
        if doubt:
            checks.warn(
                f"The values of `{self.where}` are whole numbers, but hardly raw counts: {doubt}. Rounded normalised "
                "values give factors and programs that are not there; name the layer with the raw counts."
            )
