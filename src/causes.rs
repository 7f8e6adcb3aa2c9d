//! Errors as people read them.

use std::error::Error;

/// An error with its causes on one line, each once: libraries like to repeat a cause in their own words.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string) {
        if line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error =
            anyhow::anyhow!("connection refused").context("IO error: connection refused").context("NATS at a:1");
        assert_eq!(causes(&*error), "NATS at a:1: IO error: connection refused");
    }
}
