test_that("long texts are wrapped or shortened", {
  expect_equal(shorten(c("short", "a much too long text"), 10), c("short", "a much..."))
  expect_equal(wrapped("Transitional stage B cells of the bone marrow", 20),
    "Transitional stage B\ncells of the bone...")
  expect_equal(wrapped("one_word_without_any_space", 15), "one_word_withou\nt_any_space")
})
