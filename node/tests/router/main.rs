//! The router over real sockets, with connections that speak the protocol.

#[cfg(test)]
mod support;

#[cfg(test)]
mod messages;

#[cfg(test)]
mod flow;

#[cfg(test)]
mod ends;

#[cfg(test)]
mod doors;

#[cfg(test)]
mod links;
