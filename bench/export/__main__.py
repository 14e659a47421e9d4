"""`python -m bench.export`: see bench/export/writer.py."""

import sys

from bench.export.writer import main
from bench.terminal.pipe import unpiped

unpiped()
sys.exit(main(sys.argv[1:]))
