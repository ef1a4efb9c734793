use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::types::{Cursor, Entry};

fn entry(count: u64) -> Entry {
    let lines = "{}\n".repeat(usize::try_from(count).expect("small"));
    let first = Cursor { generation: 1, sequence: 1 };
    Entry { first, lines: Bytes::from(lines), kinds: [].into(), count }
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn the_text_is_openmetrics_with_everything_from_the_start() {
    let text = Metrics::new("memory").text(&Now { jobs: Some([1, 2, 3, 4, 5]), ..Now::default() });
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    for series in [
        "rejoin_resumes_total{kind=\"reset\"}",
        "rejoin_refusals_total{reason=\"log_full\"}",
        "rejoin_settled_total{status=\"aborted\"}",
        "rejoin_limit_kills_total{limit=\"memory\"}",
        "rejoin_store_errors_total{kind=\"unavailable\"}",
        "rejoin_append_seconds_count",
        "rejoin_append_records_count",
    ] {
        assert_eq!(value(&text, series), Some(0.0), "{series}\n{text}");
    }
    assert_eq!(value(&text, "rejoin_jobs{status=\"complete\"}"), Some(3.0));
    assert_eq!(value(&text, "rejoin_store_up"), Some(1.0));
    assert!(value(&text, "process_start_time_seconds").is_some_and(|at| at > 1.7e9));
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not explained");
    }
}

#[test]
fn what_is_recorded_is_what_is_shown() {
    let metrics = Metrics::new("memory");
    metrics.engine.appended(Some(&entry(3)), None, Duration::from_millis(2));
    metrics.engine.appended(Some(&entry(1)), Some(Status::Aborted), Duration::from_millis(2));
    metrics.engine.appended(None, Some(Status::RequiresAction), Duration::ZERO);
    metrics.readers.delivered(4, 100);
    metrics.http.answered("/v1/streams", 404);
    metrics.http.problem("not_found");
    let text = metrics.text(&Now::default());
    for (series, wanted) in [
        ("rejoin_appended_records_total", 4.0),
        ("rejoin_appended_bytes_total", 12.0),
        ("rejoin_append_seconds_count", 2.0),
        ("rejoin_append_records_bucket{le=\"1.0\"}", 1.0),
        ("rejoin_append_records_sum", 4.0),
        ("rejoin_aborts_total", 1.0),
        ("rejoin_settled_total{status=\"aborted\"}", 1.0),
        ("rejoin_delivered_records_total", 4.0),
        ("rejoin_delivered_bytes_total", 100.0),
        ("rejoin_http_requests_total{route=\"/v1/streams\",status=\"4xx\"}", 1.0),
        ("rejoin_http_problems_total{code=\"not_found\"}", 1.0),
        ("rejoin_store_up", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series}\n{text}");
    }
    assert!(!text.contains("rejoin_jobs{"), "a store that is away has no figures: {text}");
}
