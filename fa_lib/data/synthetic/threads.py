"""Pictures that are the same, bit for bit, however many threads a machine lends to linear algebra."""

import numpy as np  # noqa: F401 - its library of linear algebra must be there before the controller looks for it
from threadpoolctl import ThreadpoolController

# Several threads share the sums of a product of matrices among them, and round otherwise than one. A last bit of a mesh is
# enough to change pixels, and then the fingerprint by which runs know their data.
one_thread = ThreadpoolController().wrap(limits=1, user_api="blas")
