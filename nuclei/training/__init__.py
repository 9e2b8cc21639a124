"""From samples to a trained network."""
