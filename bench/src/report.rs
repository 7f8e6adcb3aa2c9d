//! Numbers beside their budgets.

/// Least, median and greatest of some measurements.
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(sorted.len() / 2), greatest: at(sorted.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} / {:.2} / {:.2}", self.least, self.median, self.greatest)
    }
}

/// Begins a table.
pub fn table(title: &str, columns: &[&str]) {
    println!("## {title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|{}", " --- |".repeat(columns.len()));
}

pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Whether `value` keeps within `most`.
pub fn verdict(value: f64, most: f64) -> String {
    if value <= most { "ok".to_owned() } else { format!("**over by {:.0} %**", (value / most - 1.0) * 100.0) }
}
