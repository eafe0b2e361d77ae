"""Prices in cents, as a dependency that the application packs along."""

from pricelist.table import price

__all__ = ["price"]
