#!/usr/bin/env bash
# All tests of the R package: build with vignettes, R CMD check, SeuratObject 5, R inside Python, the examples.
# PYTHON names the Python with the engine's packages and rpy2; tests/bridge/install_r.sh comes before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

: "${PYTHON:=$PWD/.venv/bin/python}"
export RETICULATE_PYTHON=$PYTHON R_LIBS="$PWD/.r/lib" _R_CHECK_FORCE_SUGGESTS_=false
version=$(sed -n 's/^Version: //p' DESCRIPTION)

echo "== R CMD build, with vignettes"
rm -rf .r/check && mkdir -p .r/check
(cd r_wrapper && Rscript --vanilla bootstrap.R)
(cd .r/check && R CMD build ../../r_wrapper)

echo "== R CMD check"
# The vignettes have just been built, and are run as the scripts that they are for a reader; the PDF manual would need LaTeX.
(cd .r/check && R CMD check --no-manual --no-build-vignettes "ldvae_$version.tar.gz")
if grep -E '^Status:.*(ERROR|WARNING)' .r/check/ldvae.Rcheck/00check.log; then exit 1; fi

export R_LIBS="$PWD/.r/check/ldvae.Rcheck:$R_LIBS"
echo "== BiocCheck"
# Without what asks a server, or is about a submission.
(cd .r/check && Rscript -e '
  found <- suppressMessages(BiocCheck::BiocCheck("'"ldvae_$version.tar.gz"'", `no-check-bioc-help` = TRUE,
    `no-check-CRAN` = TRUE, `no-check-version-num` = TRUE, `no-check-deprecated` = TRUE, `no-check-remotes` = TRUE,
    `no-check-bioc-views` = TRUE))
  cat(length(found$error), "errors,", length(found$warning), "warnings\n")
  q(status = length(found$error) > 0)' 2>/dev/null | tail -1)

echo "== SeuratObject 5"
(cd r_wrapper/tests/testthat && R_LIBS="$OLDPWD/.r/seurat5:$R_LIBS" Rscript -e '
  library(testthat); library(ldvae); cat("SeuratObject", format(packageVersion("SeuratObject")), "\n")
  for (file in c("test-seurat.R", "test-methods.R", "test-habits.R")) {
    test_file(file, package = "ldvae", reporter = "summary", stop_on_failure = TRUE)
  }')

echo "== R inside Python"
"$PYTHON" -m pytest tests/bridge

echo "== examples"
for example in examples/*.R; do
  echo "$example"
  Rscript "$example" >/dev/null
done
