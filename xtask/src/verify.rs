//! The gate as a whole: which steps are wanted, each run, a table at the end.
//!
//! A failed step does not stop the ones after it: one run shows all that is wrong.

use std::time::Instant;

use crate::house::House;
use crate::step::Step;

/// The steps asked for, in the order of the gate.
pub(crate) fn wanted(only: &[Step], no_tests: bool) -> Vec<Step> {
    let named = |step: &Step| only.is_empty() || only.contains(step);
    let left_out = |step: &Step| no_tests && step.is_rust_test();
    Step::ALL
        .into_iter()
        .filter(|step| named(step) && !left_out(step))
        .collect()
}

/// Runs them and answers whether all hold; no step at all is a mistake, not a success.
pub(crate) fn run(house: &House, steps: &[Step]) -> bool {
    let rows: Vec<_> = steps.iter().map(|step| timed(house, *step)).collect();
    for (step, failure, seconds) in &rows {
        let outcome = failure.as_deref().unwrap_or("ok");
        eprintln!("{:>8} {seconds:>4} s  {outcome}", step.name());
    }
    if rows.is_empty() {
        eprintln!("error: no step left to run");
    }
    !rows.is_empty() && rows.iter().all(|(_, failure, _)| failure.is_none())
}

fn timed(house: &House, step: Step) -> (Step, Option<String>, u64) {
    eprintln!("== {}", step.name());
    let begin = Instant::now();
    let failure = step
        .run(house)
        .err()
        .map(|error| format!("FAILED: {error:#}"));
    (step, failure, begin.elapsed().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_runs_in_the_order_of_the_gate() {
        assert_eq!(wanted(&[], false), Step::ALL);
    }

    #[test]
    fn no_tests_leaves_out_what_cargo_test_has_done_and_nothing_else() {
        let left_out: Vec<_> = Step::ALL
            .into_iter()
            .filter(|step| !wanted(&[], true).contains(step))
            .collect();
        assert_eq!(left_out, [Step::Test, Step::Doctest]);
    }

    #[test]
    fn steps_named_run_in_the_order_of_the_gate() {
        assert_eq!(
            wanted(&[Step::Tidy, Step::Fmt], false),
            [Step::Fmt, Step::Tidy]
        );
    }

    #[test]
    fn a_gate_without_a_step_does_not_hold() {
        let none = wanted(&[Step::Doctest], true);
        assert!(!run(&House::find().unwrap(), &none));
    }

    #[test]
    fn the_word_of_each_step_is_the_one_that_the_command_line_takes() {
        use clap::ValueEnum;
        for step in Step::ALL {
            assert_eq!(Step::from_str(step.name(), false), Ok(step));
        }
    }
}
