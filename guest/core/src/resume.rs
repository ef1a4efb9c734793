//! Run steps: what a returning client needs besides the content, latest by id in first-seen order.

use std::collections::HashMap;

use crate::json::{Json, Kind};

/// The run steps of a generation.
#[derive(Clone, Debug, Default)]
pub struct RunSteps {
    steps: Vec<String>,
    by_id: HashMap<Vec<u8>, usize>,
    bytes: usize,
    next_index: u64,
}

impl RunSteps {
    /// Takes `on_run_step` (the step replaces an earlier one of its id) and `on_run_step_completed` (its `result`
    /// becomes the member `result` of the step it names). Other events and steps without a string id change nothing.
    pub fn push(&mut self, event: &str, data: Json<'_>) {
        match event {
            "on_run_step" => self.put(data),
            "on_run_step_completed" => {
                if let Some(result) = data.get("result").filter(|r| r.kind() == Kind::Object) {
                    self.complete(result);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, step: Json<'_>) {
        let Some(id) = step.get("id").and_then(Json::decoded) else { return };
        if let Some(index) = step.get("index").and_then(Json::as_u64) {
            self.next_index = self.next_index.max(index.saturating_add(1));
        }
        let text = step.text().to_owned();
        self.bytes += text.len();
        match self.by_id.get(&*id) {
            Some(&at) => {
                self.bytes -= self.steps[at].len();
                self.steps[at] = text;
            }
            None => {
                self.by_id.insert(id.into_owned(), self.steps.len());
                self.steps.push(text);
            }
        }
    }

    fn complete(&mut self, result: Json<'_>) {
        let Some(id) = result.get("id").and_then(Json::decoded) else { return };
        let Some(&at) = self.by_id.get(&*id) else { return };
        let Ok(step) = Json::parse(&self.steps[at]) else { return };
        let mut text = String::with_capacity(step.text().len() + result.text().len() + 12);
        text.push('{');
        for (key, value) in step.entries().filter(|(key, _)| *key != "result") {
            write_member(&mut text, key, value.text());
        }
        write_member(&mut text, "result", result.text());
        text.push('}');
        self.bytes = self.bytes - self.steps[at].len() + text.len();
        self.steps[at] = text;
    }

    /// One more than the highest `index` of a step so far.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Appends the steps as a JSON list.
    pub fn write(&self, out: &mut String) {
        out.push('[');
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(step);
        }
        out.push(']');
    }

    /// What [`RunSteps::write`] wrote.
    pub fn read(list: Json<'_>) -> Self {
        let mut steps = RunSteps::default();
        list.items().for_each(|step| steps.put(step));
        steps
    }

    /// Bytes that [`RunSteps::write`] appends, about.
    pub fn size(&self) -> usize {
        self.bytes + self.steps.len()
    }
}

/// Appends `"key":value` to an object that `out` has open; both are JSON already.
pub fn write_member(out: &mut String, key: &str, value: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
    out.push_str(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_an_id_stands_where_the_first_stood() {
        let mut steps = RunSteps::default();
        for (event, data) in [
            ("on_run_step", r#"{"id":"a","index":0}"#),
            ("on_run_step", r#"{"id":"b","index":1}"#),
            ("on_run_step", r#"{"id":"a","index":2}"#),
            ("on_run_step_completed", r#"{"result":{"id":"b","n":1}}"#),
            ("on_run_step_completed", r#"{"result":{"id":"b","n":2}}"#),
            ("on_run_step_completed", r#"{"result":{"id":"unknown"}}"#),
            ("on_run_step", r#"{"index":9}"#),
            ("on_message_delta", r#"{"id":"c"}"#),
        ] {
            steps.push(event, Json::parse(data).expect("valid"));
        }
        let mut out = String::new();
        steps.write(&mut out);
        assert_eq!(out, r#"[{"id":"a","index":2},{"id":"b","index":1,"result":{"id":"b","n":2}}]"#);
        let mut again = String::new();
        RunSteps::read(Json::parse(&out).expect("valid")).write(&mut again);
        assert_eq!(again, out);
    }
}
