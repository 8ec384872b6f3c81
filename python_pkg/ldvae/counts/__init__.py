"""From what the user has to what the engine reads: counts, labels, covariates, minibatches; simulated counts."""
