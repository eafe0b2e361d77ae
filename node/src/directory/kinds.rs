//! The types that settings have, and how each is read from its file.
//!
//! Not here: which file has which type (`settings`).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use pyliteral::Value;

use super::cfg::{Cfg, SettingsError};
use crate::hosting::PythonConfig;

/// One entry of `convleader.cfg`: `host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderAddress {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port; `None`: the admin port.
    pub port: Option<u16>,
}

impl LeaderAddress {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (
                    host,
                    after
                        .strip_prefix(':')
                        .or_else(|| after.is_empty().then_some(""))?,
                )
            }
            None if text.matches(':').count() > 1 => (text, ""),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = if port.is_empty() {
            None
        } else {
            Some(port.parse().ok()?)
        };
        let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        plain.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    pub(super) fn read_all(cfg: &Cfg<'_>) -> Result<Vec<Self>, SettingsError> {
        const WANT: &str = "`host[:port]`, or a list of them";
        let texts = cfg.texts(WANT)?;
        let addresses = texts
            .iter()
            .map(|text| Self::parse(text))
            .collect::<Option<Vec<_>>>();
        addresses
            .filter(|list| !list.is_empty())
            .ok_or_else(|| cfg.expected(WANT))
    }
}

impl std::fmt::Display for LeaderAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

/// One entry of `environment.cfg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentEntry {
    /// Name of the variable.
    pub name: String,
    /// Its value; `None`: the daemon's own.
    pub value: Option<String>,
}

impl EnvironmentEntry {
    pub(super) fn read_all(cfg: &Cfg<'_>) -> Result<Vec<Self>, SettingsError> {
        const WANT: &str = "a list of variable names, or a dictionary of names and strings";
        if let Value::Dict(pairs) = cfg.value_or_text()? {
            let entry = |(name, value): &(Value, Value)| {
                let value = match value {
                    Value::None => None,
                    value => Some(value.as_str()?.to_owned()),
                };
                Some(Self {
                    name: name.as_str()?.to_owned(),
                    value,
                })
            };
            let entries = pairs.iter().map(entry).collect::<Option<Vec<_>>>();
            return entries.ok_or_else(|| cfg.expected(WANT));
        }
        let names = cfg.texts(WANT)?;
        Ok(names
            .into_iter()
            .map(|name| Self { name, value: None })
            .collect())
    }
}

/// `python.cfg`: one interpreter, or one a group.
pub(super) fn python(cfg: &Cfg<'_>) -> Result<PythonConfig, SettingsError> {
    const WANT: &str =
        "the absolute path of a Python interpreter, or a dictionary with one per group";
    let absolute = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
    match cfg.value_or_text()? {
        Value::Str(text) => absolute(&text).map(PythonConfig::One),
        Value::Dict(pairs) => pairs
            .iter()
            .map(|(group, path)| Some((group.as_str()?.to_owned(), absolute(path.as_str()?)?)))
            .collect::<Option<_>>()
            .map(PythonConfig::PerGroup),
        _ => None,
    }
    .ok_or_else(|| cfg.expected(WANT))
}

pub(super) fn port(cfg: &Cfg<'_>) -> Result<u16, SettingsError> {
    let number = cfg.value_or_text()?;
    let number = match &number {
        Value::Str(text) => text.trim().parse().ok(),
        value => value.as_i64().and_then(|number| u16::try_from(number).ok()),
    };
    number.ok_or_else(|| cfg.expected("a port number from 0 to 65535"))
}

pub(super) fn truth(cfg: &Cfg<'_>) -> Result<bool, SettingsError> {
    cfg.value()?
        .as_bool()
        .ok_or_else(|| cfg.expected("True or False"))
}

pub(super) fn voters(cfg: &Cfg<'_>) -> Result<u8, SettingsError> {
    let number = cfg.value()?.as_i64();
    let number = number.filter(|number| matches!(number, 1 | 3 | 5 | 7));
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| cfg.expected("1, 3, 5 or 7 voters"))
}

pub(super) fn seconds(cfg: &Cfg<'_>) -> Result<Duration, SettingsError> {
    let seconds = cfg.value()?.as_f64();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| cfg.expected("a number of seconds, 0 or more"))
}

/// A number of bytes: an integer, or a number with a unit (`500 MB`, `10 GiB`).
pub(super) fn bytes(cfg: &Cfg<'_>) -> Result<u64, SettingsError> {
    let raw = cfg.text("").unwrap_or_else(|_| cfg.raw().to_owned());
    let digits = raw.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = raw
        .get(digits.len()..)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let factor: Option<u64> = match unit.as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        "kib" | "k" => Some(1 << 10),
        "mib" | "m" => Some(1 << 20),
        "gib" | "g" => Some(1 << 30),
        "tib" | "t" => Some(1 << 40),
        _ => None,
    };
    let number = digits.trim().replace('_', "").parse::<u64>().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| cfg.expected("a number of bytes, such as 500000000 or `10 GiB`"))
}

pub(super) fn address(cfg: &Cfg<'_>) -> Result<IpAddr, SettingsError> {
    const WANT: &str = "an IP address of this host, such as 10.0.0.7";
    let text = cfg.text(WANT)?;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().map_err(|_not_an_address| cfg.expected(WANT))
}

pub(super) fn dotted_names(cfg: &Cfg<'_>) -> Result<Vec<String>, SettingsError> {
    const WANT: &str = "a list of class names such as `['fractions.Fraction']`";
    let names = cfg.texts(WANT)?;
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && word
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '*')
    };
    if names
        .iter()
        .all(|name| name.contains('.') && name.split('.').all(word))
    {
        Ok(names)
    } else {
        Err(cfg.expected(WANT))
    }
}

pub(super) fn paths(cfg: &Cfg<'_>) -> Result<Vec<PathBuf>, SettingsError> {
    const WANT: &str = "a list of absolute paths";
    let texts = cfg.texts(WANT)?;
    let separated = texts.iter().flat_map(std::env::split_paths);
    let paths: Vec<_> = separated
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if paths.iter().all(|path| path.is_absolute()) {
        Ok(paths)
    } else {
        Err(cfg.expected(WANT))
    }
}

pub(super) fn capabilities(cfg: &Cfg<'_>) -> Result<Value, SettingsError> {
    let value = cfg.value()?;
    let keys_are_text = value
        .as_dict()
        .is_some_and(|pairs| pairs.iter().all(|(key, _)| key.as_str().is_some()));
    if keys_are_text {
        Ok(value)
    } else {
        Err(cfg.expected("a dictionary with string keys"))
    }
}

pub(super) fn dictionary(cfg: &Cfg<'_>) -> Result<Value, SettingsError> {
    let value = cfg.value()?;
    if value.as_dict().is_some() {
        Ok(value)
    } else {
        Err(cfg.expected("a dictionary"))
    }
}
