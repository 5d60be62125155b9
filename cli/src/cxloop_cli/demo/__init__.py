"""`cxloop demo`: the whole loop on a scenario whose every figure is known beforehand."""
