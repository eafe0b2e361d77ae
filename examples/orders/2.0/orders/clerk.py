"""The clerk: knows the prices."""

from pricelist import price
from thespian.actors import ActorTypeDispatcher


class Quote:
    """Asks the clerk for the price of an order."""

    def __init__(self, number, article, count, customer):
        self.number = number
        self.article = article
        self.count = count
        self.customer = customer


class Priced:
    """The clerk's answer."""

    def __init__(self, number, cents, customer):
        self.number = number
        self.cents = cents
        self.customer = customer


class Clerk(ActorTypeDispatcher):
    """Prices orders."""

    def receiveMsg_Quote(self, message, sender):
        """Answers with the price."""
        cents = self.cents(message.article, message.count)
        self.send(sender, Priced(message.number, cents, message.customer))

    def cents(self, article, count):
        """The price of so many of an article, a tenth off from ten."""
        full = price(article) * count
        return full - full // 10 if count >= 10 else full
