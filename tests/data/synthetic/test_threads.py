"""Pictures do not depend on the number of threads."""

import numpy as np
from threadpoolctl import threadpool_limits

from fa_lib.data.synthetic import deform, people
from fa_lib.data.synthetic.render import render


def anew(threads: int) -> list[np.ndarray]:
    """The bases of all heads, and a few pictures, computed again with so many threads."""
    for cached in (deform.bases, deform._controls, deform._interpolant):
        cached.cache_clear()
    with threadpool_limits(threads, user_api="blas"):
        return [*deform.bases(), *render(people.sample(6, np.random.default_rng(0)), 64)]


def test_heads_and_pictures_are_the_same_with_one_thread_and_with_two():
    # on two cores the bases differ in their last bits without `one_thread`
    assert all(np.array_equal(one, two) for one, two in zip(anew(1), anew(2), strict=True))
