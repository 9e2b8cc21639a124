"""``python -m nuclei`` is ``nuclei``."""

import sys

from nuclei.cli import main

sys.exit(main())
