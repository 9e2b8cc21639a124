"""Pictures and charts: arrays and tables in, matplotlib figures out."""
