"""The main job on real counts: train once, then ask which genes drive each population.

    make demo
    make demo DATA=counts.h5ad GROUPBY=cell_type [BATCH=batch]

Without data it takes the PBMC cells that ship inside scanpy (no download). Tables are printed and written as CSV,
figures as PNG, all into one folder.
"""

from __future__ import annotations

import argparse
import warnings
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

import ldvae


def pbmc_counts() -> anndata.AnnData:
    """The 700 PBMC cells inside the scanpy wheel, their counts recovered from log values and library sizes."""
    import scanpy  # only the built-in data need it

    cells = scanpy.datasets.pbmc68k_reduced()
    logged = cells.raw.X.tocsr().astype(np.float64)  # log1p(1e4 × count / library size), stored with three decimals
    library = cells.obs["n_counts"].to_numpy(np.float64)  # of all genes; the file keeps 765 of them
    scale = np.repeat(library / 1e4, np.diff(logged.indptr))
    values = np.expm1(logged.data) * scale
    counts = np.rint(values)
    deviation = np.abs(values - counts).max()
    mismatch = np.abs(np.log1p(counts / scale) - logged.data).max()
    if deviation > 0.25 or mismatch > 6e-4 or counts.min() < 1:
        raise ValueError(
            f"The log values of pbmc68k_reduced do not come from whole counts (deviation {deviation:.3f}, log values "
            f"off by {mismatch:.1e}): this version of scanpy ships other data; give your own file with --data."
        )
    print(
        f"Counts recovered from log values: {len(counts):,} non-zero values are whole numbers up to {deviation:.3f} "
        f"(largest count {counts.max():.0f}), and give back the stored log values to {mismatch:.4f}."
    )
    logged.data = counts
    return anndata.AnnData(
        X=logged.astype(np.float32),
        obs=cells.obs[["bulk_labels", "n_counts"]],
        var=cells.raw.var,
        obsm={"X_umap": cells.obsm["X_umap"]},
    )


@cache
def note(sentence: str) -> None:
    """Print a warning as a sentence, the first time it comes."""
    print(f"Note: {sentence}")


def one_line_each(top: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """One row per factor, or per population and program: its genes side by side."""
    genes = top["gene"] + " " + top["loading"].map("{:+.1f}".format)
    return genes.groupby([top[key] for key in keys], sort=False).agg(", ".join).rename("genes").reset_index()


def show(title: str, how_to_read: str, table: pd.DataFrame) -> None:
    """Print a table under its heading."""
    print(f"\n{title}\n{'-' * len(title)}\n{how_to_read}\n")
    if table.empty:
        print("(no rows)")
    else:
        print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="-", max_colwidth=90))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one LDVAE on counts and ask which genes drive each population.")
    parser.add_argument(
        "--data", type=Path, help="an .h5ad file with raw counts; the PBMC cells in scanpy if not given"
    )
    parser.add_argument("--layer", help="the layer that holds the counts; X if not given")
    parser.add_argument("--groupby", help="the column of obs that names the populations")
    parser.add_argument("--batch", help="a column of obs with batches, donors or chemistries to correct for")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for tables and figures (demo)")
    args = parser.parse_args()
    warnings.showwarning = lambda message, *_: note(str(message))
    if args.data is None:
        adata, groupby, size_factor_key = pbmc_counts(), args.groupby or "bulk_labels", "n_counts"
    elif args.groupby is None:
        parser.error("your own data need --groupby (make demo DATA=... GROUPBY=...): the obs column with populations")
    elif not args.data.is_file():
        parser.error(f"there is no file {args.data}")
    else:
        adata, groupby, size_factor_key = anndata.read_h5ad(args.data), args.groupby, None
    print(f"{adata.n_obs:,} cells × {adata.n_vars:,} genes, populations in obs[{groupby!r}].\n")

    # Train once; labels are not used.
    fit = ldvae.fit_ldvae(adata, layer=args.layer, batch_key=args.batch, size_factor_key=size_factor_key)
    print(fit)

    # Ask.
    history = ldvae.get_history(fit)
    factors = ldvae.get_factors(fit)
    loadings = ldvae.get_loadings(fit)
    between = ldvae.population_loadings(fit, adata, groupby=groupby, kind="between")
    specific = ldvae.population_loadings(fit, adata, groupby=groupby, kind="specific")
    specific_programs = ldvae.population_programs(fit, adata, groupby=groupby, kind="specific")
    within = ldvae.population_loadings(fit, adata, groupby=groupby, kind="within")
    within_programs = ldvae.population_programs(fit, adata, groupby=groupby, kind="within")
    program_map = ldvae.get_program_map(fit, adata, groupby=groupby)
    de = ldvae.differential_expression(fit, adata, groupby=groupby)
    association = ldvae.associate_factors(fit, adata, key=groupby)

    # Read.
    top = ldvae.top_genes(loadings, n=6)
    show(
        "Factors",
        f"{factors['active'].sum()} of {len(factors)} have support; n_genes: genes whose loading has a sure sign.",
        factors[factors["active"]],
    )
    show(
        "What makes each factor: its strongest genes",
        "Loadings in log2 units per standard deviation of the factor; the sign tells the two ends apart.",
        one_line_each(top[top["factor"].isin(factors.loc[factors["n_genes"] > 4, "factor"])], "factor"),
    )
    show(
        "Between: which genes make a population differ from the others",
        "Genes with lfsr below 0.05, each with its log2 difference from the average of the other populations.",
        one_line_each(ldvae.top_genes(between[between["lfsr"] < 0.05], n=5), "population"),
    )
    show(
        "Specific: programs that vary inside a population and are its own",
        "top_up against top_down are the two ends; trust the called ones. ratio_to_reference: its variance here over\n"
        "that in the population which is the most likely to have half of it.",
        specific_programs[
            [
                "population",
                "program",
                "called",
                "reason",
                "ratio_to_reference",
                "padj",
                "n_genes",
                "top_up",
                "top_down",
            ]
        ],
    )
    show(
        "Within: what varies from cell to cell inside a population, what others have too included",
        "Cells of the population differ from each other along top_up against top_down; share is of that variance.",
        within_programs[
            ["population", "program", "called", "reason", "share", "padj", "n_genes", "top_up", "top_down"]
        ],
    )
    higher = de[de["is_de"] & (de["lfc_mean"] > 0)].assign(proba_de=lambda rows: rows["proba_de"].round(3))
    higher = higher.sort_values(["group1", "proba_de", "lfc_mean"], ascending=[True, False, False], kind="stable")
    show(
        "Differential expression: each population against the rest, surest genes that are higher",
        "lfc is log2 with its 95 % interval; proba_de: probability that the change exceeds the threshold.",
        higher.groupby("group1", sort=False).head(5)[
            ["group1", "gene", "proba_de", "lfsr", "lfc_mean", "lfc_lower", "lfc_upper", "raw_mean1", "raw_mean2"]
        ],
    )
    strongest = association.assign(size=association["auc"].sub(0.5).abs()).dropna(subset=["size"])
    strongest = strongest.sort_values("size", ascending=False).groupby("level", sort=True).head(2).sort_values("level")
    show(
        "Association: the two factors that tell each population best from the rest",
        "auc 1: higher in every cell of the population; 0: lower; 0.5: no difference. unit says what was compared.",
        strongest[["level", "factor", "unit", "effect", "auc", "padj", "n_cells", "n_samples"]],
    )

    # Keep.
    args.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "history": history,
        "factors": factors,
        "loadings": loadings,
        "loadings_between": between,
        "loadings_specific": specific,
        "loadings_within": within,
        "programs_specific": specific_programs,
        "programs_within": within_programs,
        "program_map": program_map,
        "differential_expression": de,
        "association": association,
    }
    ldvae.save_fit(fit, args.out / "fit.safetensors")
    for name, table in tables.items():
        table.to_csv(args.out / f"{name}.csv", index=False)
    where = {}
    if "X_umap" in adata.obsm and specific_programs["called"].any():
        scores = ldvae.get_program_scores(fit, adata, groupby=groupby, kind="specific")
        where = {"scores": scores, "embedding": adata.obsm["X_umap"]}
    figures = {
        "history": ldvae.plot_history(history),
        "loadings": ldvae.plot_loadings(loadings),
        "programs_specific": ldvae.plot_programs(specific, specific_programs, **where),
        "programs_within": ldvae.plot_programs(within, within_programs),
        "program_map": ldvae.plot_program_map(program_map),
        "differential_expression": ldvae.plot_differential_expression(de),
        "association": ldvae.plot_association(association),
    }
    for name, picture in figures.items():  # a plot is an Axes or a Figure; both know their figure
        getattr(picture, "figure", picture).savefig(args.out / f"{name}.png", dpi=150)
    print(f"\n{len(tables)} tables (CSV), {len(figures)} figures (PNG) and the fit (safetensors) are in {args.out}/.")


if __name__ == "__main__":
    main()
