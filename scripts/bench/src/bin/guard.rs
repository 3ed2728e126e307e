//! Runs one case so many times, and nothing else: scripts/check-instructions counts what that takes.
//! Without arguments it lists the cases.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        return bench::cases()
            .iter()
            .try_for_each(|case| writeln!(stdout(), "{}", case.name))
            .map_err(Into::into);
    };
    let iterations: u32 = arguments.next().ok_or("usage: guard [CASE ITERATIONS]")?.parse()?;
    let case = bench::cases().into_iter().find(|case| case.name == name);
    let mut case = case.ok_or_else(|| format!("there is no case {name:?}"))?;
    for _ in 0..iterations {
        black_box(case.run());
    }
    Ok(())
}
