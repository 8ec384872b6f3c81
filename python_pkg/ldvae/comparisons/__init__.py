"""Groups of cells compared: differential expression, contributions of factors, association."""
