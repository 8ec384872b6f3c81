# Makes docs/images/r_programs.png, the picture of the README, which is one of the vignette `ldvae`:
# Rscript inst/scripts/make-figure.R (in r_wrapper, with ldvae installed).
folder <- tempfile()
dir.create(folder)
file.copy("vignettes/ldvae.Rmd", folder)
rmarkdown::render(file.path(folder, "ldvae.Rmd"), output_options = list(self_contained = FALSE), quiet = TRUE)
figure <- list.files(folder, "^within-plot-1[.]png$", recursive = TRUE, full.names = TRUE)
stopifnot(file.copy(figure, "../docs/images/r_programs.png", overwrite = TRUE))
