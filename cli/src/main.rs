#![doc = include_str!("../README.md")]

mod words;

mod commands;

mod exit;
use exit::{Exit, Failure};

mod checkup;

mod python;

mod gensrc;

mod files;

mod online;

mod demo;

mod printer;
use printer::Printer;

mod progress;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = catch_unwind(AssertUnwindSafe(|| commands::run(std::env::args_os())));
    match outcome {
        Ok(exit) => exit.into(),
        // The default hook has written what happened and where.
        Err(_panic) => {
            Printer::plain().error("this is a bug in Director: please report what is above");
            Exit::Bug.into()
        }
    }
}
