#!/usr/bin/env bash
# R and what its tests need, into .r/: on Debian as root by apt; elsewhere R must be there and CRAN is used.
#   .r/lib      reticulate 1.41, if the system has an older one
#   .r/seurat5  SeuratObject 5, beside the system's 4 (Debian 12), so that both are tested
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

packages=(r-base-core r-base-dev libtirpc-dev pandoc
  r-bioc-bioccheck r-bioc-biocstyle r-bioc-delayedarray r-bioc-hdf5array r-bioc-singlecellexperiment
  r-cran-ggplot2 r-cran-ggrepel r-cran-here r-cran-jsonlite r-cran-knitr r-cran-matrix r-cran-patchwork r-cran-png
  r-cran-rappdirs r-cran-rcpp r-cran-rcppeigen r-cran-rcpptoml r-cran-rlang r-cran-rmarkdown r-cran-seurat
  r-cran-seuratobject r-cran-spam r-cran-testthat r-cran-withr)

if command -v dpkg-query >/dev/null && ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  if [[ $(id -u) -ne 0 ]]; then
    echo "The tests of the R package need: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  echo "Installing R and what its tests need ..."
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null >/dev/null
elif ! command -v Rscript >/dev/null; then
  echo "The tests of the R package need R (4.2 or newer), and there is no Rscript here." >&2
  exit 1
fi

mkdir -p .r/lib .r/seurat5 .r/src
export R_LIBS="$PWD/.r/lib${R_LIBS:+:$R_LIBS}"

# has PACKAGE VERSION [LIBRARY]: is it installed in this version or a newer one?
has() {
  Rscript -e 'a <- commandArgs(TRUE); lib <- if (length(a) > 2) a[3]
    v <- tryCatch(packageVersion(a[1], lib.loc = lib), error = function(e) "0"); q(status = v < a[2])' "$@"
}

# from_debian PACKAGE FILE SHA256 LIBRARY [sed script for its DESCRIPTION]
from_debian() {
  local archive=.r/src/$2
  [[ -f $archive ]] || curl -fsSL --retry 3 -o "$archive" "http://deb.debian.org/debian/pool/main/r/${2%%_*}/$2"
  echo "$3  $archive" | sha256sum --check --quiet
  rm -rf ".r/src/$1" && tar -xf "$archive" -C .r/src
  [[ -z ${5:-} ]] || sed -i "$5" ".r/src/$1/DESCRIPTION"
  R CMD INSTALL --no-docs --no-test-load -l "$4" ".r/src/$1" >".r/src/$1.log" 2>&1 || { tail -20 ".r/src/$1.log" >&2; exit 1; }
}

if ! has reticulate 1.41; then
  echo "Installing reticulate 1.41 into .r/lib ..."
  from_debian reticulate r-cran-reticulate_1.41.0.1+dfsg.orig.tar.xz \
    fca24ebaa8867e2b4da9b735410cf080f09d20ca326407f1759f30c1914b7cf9 .r/lib
fi
if ! has SeuratObject 5.0.0 && ! has SeuratObject 5.0.0 .r/seurat5; then
  echo "Installing SeuratObject 5 into .r/seurat5 ..."
  # it asks for a newer Matrix than Debian 12 has, for what is not used here
  from_debian SeuratObject r-cran-seuratobject_5.0.2.orig.tar.gz \
    ded30d21f445b7e353fe4a0c4954d45ad19fbe162615d9addf6732f9318ba0cf .r/seurat5 's/Matrix (>= 1.6.4)/Matrix/'
fi
