//! What operators see: figures, log lines, traces.

mod figures;
mod lines;
mod traces;

use anyhow::{Context, Result};
use rejoin_tests::client::Client;

/// The figures of one moment.
pub(crate) struct Figures(String);

impl Figures {
    /// Asks for them.
    pub(crate) async fn of(client: &Client) -> Result<Self> {
        let answer = client.get("/metrics").await?.expect(200)?;
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        Ok(Figures(String::from_utf8(answer.body.to_vec())?))
    }

    /// The value of a series, written as in the text, labels and all.
    pub(crate) fn value(&self, series: &str) -> Result<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {series} in\n{}", self.0))?.parse()?)
    }

    /// Fails unless each series has its value.
    pub(crate) fn expect(&self, wanted: &[(&str, f64)]) -> Result<()> {
        let is = wanted.iter().map(|(series, _)| Ok((*series, self.value(series)?))).collect::<Result<Vec<_>>>()?;
        assert_eq!(is, wanted, "{}", self.0);
        Ok(())
    }

    /// The series that there are, without their values.
    pub(crate) fn series(&self) -> Vec<&str> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect()
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
