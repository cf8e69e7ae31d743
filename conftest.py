"""Give nbval numbers that compare as numbers, and quiet, single-threaded kernels."""

import os

from nbval.plugin import IPyNbCell

from tools.comparison import sanitize
from tools.twins import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)
IPyNbCell.sanitize = sanitize
