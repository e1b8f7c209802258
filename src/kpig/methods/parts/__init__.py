"""What several methods share: memory, choices, gradients, distances, embeddings, writers."""
