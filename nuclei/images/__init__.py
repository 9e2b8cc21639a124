"""One picture: files, grey values, sizes, windows."""
