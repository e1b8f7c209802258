"""A causal LM as kpig uses it: found, loaded, run; its tokens, batches, formulas and key-part gain."""
