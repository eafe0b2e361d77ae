//! `cluster invite`: a join token for nodes to come.

use std::io::{self, Write};
use std::str::FromStr;

use protocol::Stamp;
use protocol::control::{ClusterRequest, ClusterResponse};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use crate::Exit;
use crate::online::{Online, moment, user};
use crate::printer::Report;

/// Give out a join token; it is shown once, alone on the last line
///
/// Put it into `convtoken.cfg` of the new node, and an address of a member into its
/// `convleader.cfg`; then start it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many nodes may join with it
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it is good, such as `45s`, `30m`, `1h`, `7d`
    #[arg(long, value_name = "T", default_value = "1h")]
    ttl: Ttl,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Invite {
        uses: args.uses,
        ttl_s: args.ttl.0,
        by: user(),
        drawn: None,
    };
    match ask(&mut Online::connect(context)?, request)? {
        ClusterResponse::Invited { token, id, expires } => {
            context.printer.report(&Invited {
                token,
                id,
                expires,
                uses: args.uses,
            });
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

/// Seconds, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ttl(u64);

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
        let unit_s = match text.strip_prefix(digits) {
            Some("" | "s") => 1,
            Some("m") => 60,
            Some("h") => 3_600,
            Some("d") => 86_400,
            _ => return Err(format!("`{text}` has no unit known here: s, m, h or d")),
        };
        let count: u64 = digits
            .parse()
            .map_err(|_| format!("`{text}` does not begin with a number"))?;
        match count.checked_mul(unit_s) {
            Some(seconds) if seconds > 0 => Ok(Self(seconds)),
            _ => Err(format!(
                "`{text}` is no time that a token could be good for"
            )),
        }
    }
}

struct Invited {
    token: String,
    id: String,
    expires: Stamp,
    uses: u32,
}

impl Report for Invited {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let nodes = match self.uses {
            1 => "one node".to_owned(),
            uses => format!("{uses} nodes"),
        };
        let until = moment(self.expires);
        writeln!(out, "Token {} for {nodes}, good until {until}:", self.id)?;
        writeln!(out, "{}", self.token)
    }

    fn json(&self) -> Value {
        json!({
            "token": self.token,
            "id": self.id,
            "expires": self.expires,
            "uses": self.uses,
        })
    }
}

impl std::fmt::Display for Ttl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let seconds = |text: &str| text.parse::<Ttl>().map(|ttl| ttl.0);
        assert_eq!(seconds("45s"), Ok(45));
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in [
            "",
            "h",
            "1w",
            "0s",
            "-1h",
            "1 h",
            "99999999999999999999d",
            "1hm",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
