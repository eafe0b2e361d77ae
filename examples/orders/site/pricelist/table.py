"""The price table; read from a data file beside this module."""

import json
import os

with open(os.path.join(os.path.dirname(__file__), "prices.json"), encoding="utf-8") as _file:
    _PRICES = json.load(_file)


def price(article):
    """Price of one article in cents; KeyError for an unknown one."""
    return _PRICES[article]
