"""How far a ranking of features is one of what the model uses: curves, subsets, controls."""
