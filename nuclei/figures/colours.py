"""One colour language in all figures, safe for colour-blind readers.

What is true is orange, what the model predicts is blue, and where both agree is white. After Okabe and Ito,
"Color universal design", 2008.
"""

TRUTH, PREDICTION, BOTH = "#E69F00", "#0090E0", "#FFFFFF"

TRAINING, VALIDATION = "#8C8C8C", "#0072B2"

INK, DARK = "#333333", "#101018"
