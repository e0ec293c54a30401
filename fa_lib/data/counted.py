"""Rendered sets that are counted instead of drawn: what a profile would need can be said without hours of rendering."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace

import numpy as np

from fa_lib.data.faces import Faces

_stores: ContextVar[dict[str, int] | None] = ContextVar("stores", default=None)


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Inside, a rendered set has as many faces as it would have, each of them its first one. Yields the bytes of each store."""
    stores: dict[str, int] = {}
    token = _stores.set(stores)
    try:
        yield stores
    finally:
        _stores.reset(token)


def active() -> bool:
    """Whether sets are counted here and now."""
    return _stores.get() is not None


def repeated(faces: Faces, count: int, store: str) -> Faces:
    """The first face as often as `count` says, without memory for more than one; `store` names what would be stored."""
    many = {
        field.name: np.broadcast_to(value[:1], (count, *value.shape[1:]))
        for field in fields(faces)
        if isinstance(value := getattr(faces, field.name), np.ndarray)
    }
    stores = _stores.get()
    assert stores is not None
    stores[store] = many["images"].size
    return replace(faces, **many, fingerprint=f"{count} counted")
