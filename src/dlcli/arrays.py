"""The type of NumPy arrays, of any shape and dtype: docstrings say which."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
