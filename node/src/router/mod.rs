//! The router: every message between actors, clients and roles of this node passes here.
