//! A new generation: who may start one, what it is called, what it inherits (nothing but remembered keys).

use super::command::{metadata, object};
use super::*;
use crate::json::write_string;

/// Keys of `Idempotency-Key` that a stream remembers, newest last.
const KEYS_MAX: usize = 8;
const KEYS_FIELD: &str = "idempotency:keys";

impl Session {
    /// Starts a new generation on the stream, whatever the state of the present one, unless `request` says otherwise.
    ///
    /// Shape of `request`: a JSON object (API.md section 2, `POST /v1/streams/{id}`); unknown members are an error.
    /// `user_id` wins over the request's. `key`: a repeat of the key that made the current generation is unchanged.
    pub fn create(
        &mut self,
        now_ms: u64,
        user_id: Option<&str>,
        key: Option<&str>,
        request: &str,
    ) -> Result<Outcome, Refusal> {
        self.ready()?;
        let request = Request::read(request)?;
        let user_id = user_id.or(request.user_id.as_deref()).unwrap_or("anonymous");
        let mut keys = Vec::new();
        if let Some(current) = &self.job {
            if current.user_id != user_id {
                return Err(Refusal::Forbidden);
            }
            keys = remembered_keys(current);
            if let Some((_, made)) = keys.iter().find(|(known, _)| Some(known.as_str()) == key) {
                return if *made == current.generation {
                    Ok(Outcome::Unchanged)
                } else {
                    Err(Refusal::GenerationReplaced(current.generation))
                };
            }
        }
        let current = self.job.as_ref().map_or(0, |job| job.generation);
        if request.expected_generation.is_some_and(|expected| expected != current) {
            return Err(Refusal::GenerationMismatch(current));
        }
        let active = self.job.as_ref().is_some_and(|job| !job.status.is_terminal());
        if active && request.reject_if_active {
            return Err(Refusal::AlreadyActive(current));
        }

        let Some(next) = current.checked_add(1) else {
            return Err(Refusal::Invalid("the stream has no generation left: choose another id".into()));
        };
        let generation = now_ms.max(next);
        let mut job = Job {
            generation,
            status: Status::Running,
            user_id: user_id.to_owned(),
            created_ms: now_ms,
            updated_ms: now_ms,
            settled_ms: None,
            head: 0,
            fields: Vec::new(),
        };
        request.fields.iter().for_each(|field| job.set(field));
        if let Some(key) = key {
            keys.push((key.to_owned(), generation));
        }
        if !keys.is_empty() {
            keys.drain(..keys.len().saturating_sub(KEYS_MAX));
            job.set(&Field { name: KEYS_FIELD.into(), value: write_keys(&keys) });
        }

        self.job = Some(job.clone());
        self.sequence = 0;
        self.bytes = 0;
        self.fold = Aggregator::new();
        self.steps = RunSteps::default();
        self.pace = checkpoint::Pace::default();
        self.partial = false;
        let signal = active.then_some((current, Signal::Replaced(generation)));
        let ticket = self.issue(true, signal);
        self.effects.push(Effect::Create { ticket, previous: current, job });
        Ok(Outcome::Pending)
    }
}

/// The body of a create request, checked.
#[derive(Default)]
struct Request {
    user_id: Option<String>,
    reject_if_active: bool,
    expected_generation: Option<u64>,
    fields: Vec<Field>,
}

impl Request {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut request = Request::default();
        for (key, value) in object(text, "the request")?.entries() {
            request.member(key, value)?;
        }
        Ok(request)
    }

    fn member(&mut self, key: &str, value: Json<'_>) -> Result<(), Refusal> {
        let invalid = |rule: &str| Err(Refusal::Invalid(format!("{key} {rule}")));
        match key {
            "userId" => match value.string() {
                Some(id) if (1..=256).contains(&id.len()) => self.user_id = Some(id.into_owned()),
                _ => return invalid("must be a string of 1 to 256 bytes"),
            },
            "ifActive" if value.is_string("reject") => self.reject_if_active = true,
            "ifActive" if value.is_string("replace") => self.reject_if_active = false,
            "ifActive" => return invalid("must be \"replace\" or \"reject\""),
            "expectedGeneration" => match value.as_u64() {
                None => return invalid("must be a whole number (0: no generation)"),
                expected => self.expected_generation = expected,
            },
            "metadata" => {
                for (name, value) in object(value.text(), "metadata")?.entries() {
                    self.fields.push(metadata(name, value)?);
                }
            }
            _ => self.fields.push(metadata(key, value)?),
        }
        Ok(())
    }
}

fn remembered_keys(job: &Job) -> Vec<(String, u64)> {
    let Some(list) = job.field(KEYS_FIELD).and_then(|text| Json::parse(text).ok()) else { return Vec::new() };
    let pair = |pair: Json<'_>| {
        let mut members = pair.items();
        Some((members.next()?.string()?.into_owned(), members.next()?.as_u64()?))
    };
    list.items().filter_map(pair).collect()
}

fn write_keys(keys: &[(String, u64)]) -> String {
    let mut out = String::from("[");
    for (at, (key, generation)) in keys.iter().enumerate() {
        out.push_str(if at > 0 { ",[" } else { "[" });
        write_string(&mut out, key);
        out.push_str(&format!(",{generation}]"));
    }
    out + "]"
}
