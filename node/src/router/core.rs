//! The router's machine: who exists, what waits for whom, who owes credit to whom. No I/O.
