"""The order desk: answers every order once and writes down that it did."""

from orders import VERSION
from orders.clerk import Clerk, Priced, Quote
from thespian.actors import ActorTypeDispatcher


class OrderDesk(ActorTypeDispatcher):
    """Takes `("order", number, article, count)`; answers `(number, version, cents)`."""

    def __init__(self):
        super().__init__()
        self.journal = None
        self.clerk = None

    def receiveMsg_tuple(self, message, sender):
        """An order, or the place of the journal."""
        if message[0] == "journal":
            self.journal = message[1]
            return
        _, number, article, count = message
        if self.clerk is None:
            self.clerk = self.createActor(Clerk)
        self.note(number)
        self.send(self.clerk, Quote(number, article, count, sender))

    def receiveMsg_Priced(self, message, sender):
        """The clerk's price: answer the customer."""
        self.send(message.customer, (message.number, VERSION, message.cents))

    def receiveMsg_str(self, message, sender):
        """`close the books`: another version takes over."""

    def note(self, number):
        """Appends one line to the journal."""
        if self.journal:
            with open(self.journal, "a", encoding="utf-8") as file:
                file.write(f"{number} {VERSION}\n")


__all__ = ["OrderDesk", "Priced"]
