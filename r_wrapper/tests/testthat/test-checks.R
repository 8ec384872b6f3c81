test_that("a missing package is one sentence", {
  expect_equal(error_of(need_package("no.such.package", "Plots")),
    "Plots need the package no.such.package: install.packages(\"no.such.package\").")
})
