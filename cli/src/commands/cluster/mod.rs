//! `cluster`: the convention as a whole, one file per verb.
//!
//! A program called `cluster` takes the words after it directly (`words`).

use clap::Subcommand;

use super::{Context, Outcome, help};

mod approve;
mod authority;
mod backup;
mod demote;
mod drain;
mod events;
mod explain;
mod invite;
mod leave;
mod load;
mod members;
mod promote;
mod recover;
mod refresh;
mod remove;
mod restore;
mod status;
mod tokens;
mod unload;
mod voters;

mod asking;
mod table;
mod watching;

/// Look after the convention as a whole: members, tokens, loads on all of them, events, backups
///
/// `director help cluster VERB` explains a verb. Any node takes these; what only the leader can
/// do is passed on to it.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true, subcommand_value_name = "VERB")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::verbs! {
    Status(status),
    Members(members),
    Load(load),
    Refresh(refresh),
    Unload(unload),
    Invite(invite),
    Tokens(tokens),
    Approve(approve),
    Authority(authority),
    Leave(leave),
    Remove(remove),
    Drain(drain),
    Promote(promote),
    Demote(demote),
    Voters(voters),
    Explain(explain),
    Events(events),
    Backup(backup),
    Restore(restore),
    Recover(recover),
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    match &args.verb {
        Some(verb) => verb.run(context),
        None => help::explain(&["cluster".to_owned()], context),
    }
}
