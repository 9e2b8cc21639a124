"""What is written: labels, outlines, measurements, tables."""
