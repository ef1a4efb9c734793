//! `rejoin doctor`: connects through an address as a producer and a reader do, and says what stands in the way.
//!
//! | file | what it knows |
//! |---|---|
//! | `connect` | a connection, plain or TLS, and what was agreed on |
//! | `reader` | a live stream as it arrives |
//! | `examine` | what is done, and what should come of it |
//! | `findings` | what may be wrong, and which setting mends it |

mod connect;
mod examine;
mod findings;
mod reader;

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use http::Uri;

use self::connect::Line;
use self::examine::{Examination, Report};
use crate::config::time;

/// Connects through an address as a producer and a reader do, and says what stands in the way: exit code 0 when all is
/// well, 1 when there is something to change.
#[derive(Parser)]
#[command(name = "rejoin doctor", version, long_about = None)]
struct Doctor {
    /// Where clients reach the server, through everything that stands in between: https://chat.example/streams.
    #[arg(long, value_name = "URL")]
    url: Uri,
    /// An access token that may produce and subscribe.
    #[arg(long, env = "REJOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Trusted instead of the certificates of this machine, in PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long nothing is written, to see who cuts an idle stream. Proxies cut after 60 s or 100 s: try 2m once.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    wait: Duration,
    /// A web page's origin that must be allowed to use the server: https://chat.example.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
}

/// Runs the command: `arguments` begin with the name of the program, without `doctor`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let doctor = match Doctor::try_parse_from(arguments) {
        Ok(doctor) => doctor,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match doctor.examine() {
        Ok(report) => {
            print!("{}", told(&report));
            ExitCode::from(u8::from(!report.ill.is_empty()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(64)
        }
    }
}

impl Doctor {
    fn examine(self) -> anyhow::Result<Report> {
        let line = Line::new(self.url, self.token.as_deref(), self.ca_file.as_deref())?;
        let stream = format!("doctor-{:016x}", RandomState::new().hash_one(std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let examination = Examination::new(line, stream, self.wait, self.origin);
        Ok(runtime.block_on(examination.run()))
    }
}

/// The report for a person.
fn told(report: &Report) -> String {
    let mut text = String::new();
    for well in &report.well {
        text.push_str(&format!("ok    {well}\n"));
    }
    for ill in &report.ill {
        text.push_str(&format!("WRONG {ill}\n"));
        for (who, how) in ill.remedies() {
            text.push_str(&format!("        {who}: {how}\n"));
        }
    }
    text.push_str(match report.ill.len() {
        0 => "all is well\n",
        _ => "something in between does harm: see above what to change\n",
    });
    text
}
