//! What a text may see of the world: variables and plain values that the caller hands in.
//!
//! Nothing here reads the process's environment.

use std::collections::BTreeMap;

use crate::value::Value;

/// The variables and names that [`evaluate`](crate::evaluate) may look up.
pub trait Names {
    /// The environment variable `name`, for `os.getenv` and `os.environ`.
    fn variable(&self, name: &str) -> Option<String>;
    /// The value of a plain or dotted name, such as `os.sep` or `logdir`.
    fn value(&self, dotted: &str) -> Option<Value>;
}

/// No variables, no names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn value(&self, _dotted: &str) -> Option<Value> {
        None
    }
}

/// Variables from a map, values given with [`with`](Self::with), and the plain values of `os`
/// and `sys` that do not depend on an interpreter.
///
/// What depends on one (`sys.version_info`, `sys.executable`, ...) is the caller's to add.
#[derive(Debug, Clone)]
pub struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
}

impl<'a> Environment<'a> {
    /// An environment over `variables`.
    pub fn new(variables: &'a BTreeMap<String, String>) -> Self {
        Self {
            variables,
            values: BTreeMap::new(),
        }
    }

    /// Adds the value of a plain or dotted name; it goes before a built-in one.
    #[must_use]
    pub fn with(mut self, dotted: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(dotted.into(), value.into());
        self
    }
}

impl Names for Environment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn value(&self, dotted: &str) -> Option<Value> {
        self.values
            .get(dotted)
            .cloned()
            .or_else(|| built_in(dotted))
    }
}

/// The values that CPython has on the platform that this was built for.
fn built_in(dotted: &str) -> Option<Value> {
    let windows = cfg!(windows);
    let by_platform = |posix: &str, other: &str| Value::from(if windows { other } else { posix });
    Some(match dotted {
        "os.sep" | "os.path.sep" => by_platform("/", "\\"),
        "os.altsep" | "os.path.altsep" if windows => "/".into(),
        "os.altsep" | "os.path.altsep" => Value::None,
        "os.pathsep" | "os.path.pathsep" => by_platform(":", ";"),
        "os.linesep" => by_platform("\n", "\r\n"),
        "os.name" => by_platform("posix", "nt"),
        "os.devnull" | "os.path.devnull" => by_platform("/dev/null", "nul"),
        "os.defpath" | "os.path.defpath" => by_platform("/bin:/usr/bin", ".;C:\\bin"),
        "os.curdir" | "os.path.curdir" | "os.extsep" | "os.path.extsep" => ".".into(),
        "os.pardir" | "os.path.pardir" => "..".into(),
        "os.F_OK" | "os.SEEK_SET" => 0.into(),
        "os.X_OK" | "os.SEEK_CUR" => 1.into(),
        "os.W_OK" | "os.SEEK_END" => 2.into(),
        "os.R_OK" => 4.into(),
        "sys.platform" if windows => "win32".into(),
        "sys.platform" if cfg!(target_os = "macos") => "darwin".into(),
        "sys.platform" => std::env::consts::OS.into(),
        "sys.maxsize" => i64::try_from(isize::MAX).unwrap_or(i64::MAX).into(),
        "sys.maxunicode" => 0x0010_ffff.into(),
        "sys.byteorder" if cfg!(target_endian = "little") => "little".into(),
        "sys.byteorder" => "big".into(),
        _ => return None,
    })
}

/// How Python spells a word of other languages.
pub(crate) fn python_spelling(word: &str) -> Option<&'static str> {
    Some(match word {
        "true" | "TRUE" | "yes" | "on" => "True",
        "false" | "FALSE" | "no" | "off" => "False",
        "null" | "none" | "NULL" | "nil" | "undefined" => "None",
        _ => return None,
    })
}
