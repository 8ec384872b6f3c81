"""One HTML page that answers every question about a fit."""
