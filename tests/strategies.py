"""Hypothesis strategies that several test files share."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

dtypes = st.sampled_from(["float32", "float16"])
row_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def features(draw, most_rows=40):
    """Rows of any shape and type that a column can have, NaN and infinity included."""
    dtype = draw(dtypes)
    shape = (draw(st.integers(1, most_rows)), *draw(row_shapes))
    width = np.dtype(dtype).itemsize * 8
    return draw(hnp.arrays(dtype, shape, elements=st.floats(width=width), fill=st.just(0.5)))
