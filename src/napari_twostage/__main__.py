"""``python -m napari_twostage`` is the command line."""

import sys

from napari_twostage.cli import main

sys.exit(main())
