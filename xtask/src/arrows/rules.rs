//! The lists: the arrows of the house, what the pure crates may not reach, and the exceptions.
//!
//! A new line here is a change of the architecture: it wants an ADR in `docs/adr`.

/// All rules together, so that tests can bring their own.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Each crate of the workspace with those that it may depend on.
    pub(crate) arrows: &'static [(&'static str, &'static [&'static str])],
    /// The crates that cannot do I/O, tell the time or throw dice.
    pub(crate) pure: &'static [&'static str],
    /// What they may not reach.
    pub(crate) impure: &'static [Impure],
    /// Where one of them may nevertheless.
    pub(crate) exceptions: &'static [Exception],
}

/// A crate that does I/O or reads the system's entropy.
#[derive(Debug)]
pub(crate) struct Impure {
    /// Its name on crates.io.
    pub(crate) name: &'static str,
    /// The crate of ours that will bring it: until that exists, the name may be unknown.
    pub(crate) brought_by: Option<&'static str>,
}

/// Leave for a pure crate to reach an impure one through one of its direct dependencies.
#[derive(Debug)]
pub(crate) struct Exception {
    /// The pure crate.
    pub(crate) from: &'static str,
    /// Its direct dependency that brings the impure one.
    pub(crate) through: &'static str,
    /// The impure one.
    pub(crate) to: &'static str,
    /// Why that does no harm.
    pub(crate) reason: &'static str,
}

/// The rules of this workspace.
pub(crate) const HOUSE: Rules = Rules {
    arrows: ARROWS,
    pure: PURE,
    impure: IMPURE,
    exceptions: EXCEPTIONS,
};

/// Top to bottom: a crate may use any below it, and no arrow points up.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "node",
            "leader",
            "transport",
            "convention",
            "package",
            "protocol",
            "pyliteral",
        ],
    ),
    (
        "node",
        &[
            "leader",
            "transport",
            "convention",
            "package",
            "protocol",
            "pyliteral",
        ],
    ),
    (
        "leader",
        &[
            "transport",
            "convention",
            "package",
            "protocol",
            "pyliteral",
        ],
    ),
    ("transport", &["protocol"]),
    ("convention", &["package", "protocol", "pyliteral"]),
    ("package", &["protocol", "pyliteral"]),
    ("protocol", &[]),
    ("pyliteral", &[]),
    ("cluster", &["node", "transport", "convention", "protocol"]),
    ("xtask", &[]),
];

const PURE: &[&str] = &["protocol", "pyliteral", "package", "convention"];

const IMPURE: &[Impure] = &[
    Impure {
        name: "tokio",
        brought_by: None,
    },
    Impure {
        name: "mio",
        brought_by: None,
    },
    Impure {
        name: "socket2",
        brought_by: None,
    },
    Impure {
        name: "openraft",
        brought_by: None,
    },
    Impure {
        name: "redb",
        brought_by: None,
    },
    Impure {
        name: "quinn",
        brought_by: Some("transport"),
    },
    Impure {
        name: "rustls",
        brought_by: Some("transport"),
    },
    Impure {
        name: "getrandom",
        brought_by: None,
    },
    Impure {
        name: "rand",
        brought_by: None,
    },
    Impure {
        name: "tempfile",
        brought_by: None,
    },
];

const EXCEPTIONS: &[Exception] = &[
    Exception {
        from: "package",
        through: "rsa",
        to: "rand",
        reason: "rsa takes its randomness as an argument; rand is the trait it is named by",
    },
    Exception {
        from: "package",
        through: "rsa",
        to: "getrandom",
        reason: "rand_core 0.6 offers it; the caller on the build host hands it in, or nobody",
    },
    Exception {
        from: "package",
        through: "zip",
        to: "getrandom",
        reason: "zip asks for it on every platform and uses it for encryption only, which is off",
    },
];
