//! What tests look at after the fact: the log byte for byte, the content, and what a refusal says.

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use rejoin_core::json::Json;
use serde_json::Value;

use crate::client::{Answer, Client};

impl Client {
    /// Every delivered record of the current generation with its cursor, byte for byte, by way of the JSON pages.
    pub async fn log(&self, stream: &str) -> Result<Vec<(String, String)>> {
        let (mut log, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/streams/{stream}/events?limit=1000&after={after}");
            let page = self.send("GET", &path, &[("accept", "application/json")], Bytes::new()).await?.expect(200)?;
            let text = std::str::from_utf8(&page.body)?;
            // No serde: records may be nested deeper, and hold stranger strings, than it reads.
            let page = Json::parse(text).map_err(|error| anyhow!("the page is not JSON: {error}"))?;
            for record in page.get("records").context("records")?.items() {
                let cursor = record.get("cursor").and_then(Json::string).context("a cursor")?.into_owned();
                log.push((cursor, record.get("record").context("a record")?.text().to_owned()));
            }
            match page.get("next").and_then(Json::string) {
                Some(next) => after = next.into_owned(),
                None => return Ok(log),
            }
        }
    }

    /// The records of [`Client::log`] alone.
    pub async fn records(&self, stream: &str) -> Result<Vec<String>> {
        Ok(self.log(stream).await?.into_iter().map(|(_, record)| record).collect())
    }

    /// `GET /v1/streams/{id}`.
    pub async fn state(&self, stream: &str) -> Result<Value> {
        Ok(self.get(&format!("/v1/streams/{stream}")).await?.expect(200)?.json())
    }

    /// All text parts of the content, joined.
    pub async fn text(&self, stream: &str) -> Result<String> {
        let state = self.state(stream).await?;
        let parts = state["content"].as_array().context("content")?;
        Ok(parts.iter().filter_map(|part| part["text"].as_str()).collect())
    }
}

impl Answer {
    /// A header; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless this is a whole problem (RFC 9457) with this status and code; its members.
    pub fn refused(&self, status: u16, code: &str) -> Result<Value> {
        let problem = self.json();
        ensure!(
            self.status == status && problem["code"] == code,
            "{} instead of {status} {code}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        let kind = self.header("content-type");
        ensure!(kind == "application/problem+json", "content type {kind:?} of {problem}");
        for member in ["type", "title", "detail"] {
            ensure!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member} in {problem}");
        }
        ensure!(problem["status"] == status, "another status in {problem}");
        Ok(problem)
    }

    /// Fails unless this is such a problem that also says when to try again.
    pub fn refused_for_now(&self, status: u16, code: &str) -> Result<()> {
        self.refused(status, code)?;
        let after: u64 = self.header("retry-after").parse().context("Retry-After in seconds")?;
        ensure!((1..=60).contains(&after), "Retry-After {after}");
        Ok(())
    }
}
