"""Rendered faces: a parametric head, its pictures, and imitations of the data sets made of them."""
