//! A client of a node's control socket, for the commands and the tests.
