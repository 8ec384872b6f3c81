library(testthat)
library(ldvae)

test_check("ldvae")
