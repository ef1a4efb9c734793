//! The one place where errors become statuses: `application/problem+json` (RFC 9457). Messages say what to do.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::{Response, answer};
use crate::auth::{Refused, Scope};
use crate::engine::{Failure, Refusal};
use crate::store::StoreError;
use crate::types::Status;

/// What went wrong, for the client.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// What a program reads: `code` of the body.
    pub code: &'static str,
    /// What a person reads: `detail` of the body.
    pub detail: String,
    members: Map<String, Value>,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
    /// In a box: hardly any problem has one.
    authenticate: Option<Box<HeaderValue>>,
}

impl Problem {
    /// A problem with this code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (detail, members) = (detail.into(), Map::new());
        Problem { status, code, detail, members, retry_after_s: None, allow: None, authenticate: None }
    }

    /// Adds a member for programs.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when it may be tried again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 400.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422 `invalid_request`: it can be read, but breaks a rule.
    pub fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    /// 404 `not_found`: no such stream.
    pub fn not_found() -> Self {
        let detail = "no such stream, or its retention is over: create it with POST /v1/streams/{id}";
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 401 `unauthorized`: there is no token, or it is none of ours. Never says more of it than that.
    pub fn unauthorized(refused: Option<Refused>) -> Self {
        let (detail, challenge) = match refused {
            None => ("send an access token: Authorization: Bearer …".to_owned(), "Bearer"),
            Some(refused) => (refused.to_string(), "Bearer error=\"invalid_token\""),
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).authenticate(HeaderValue::from_static(challenge))
    }

    /// 401 `unauthorized`: a ticket that was used, is over, or is for another stream.
    pub fn ticket_refused() -> Self {
        let detail = "the ticket was used, is over, or is for another stream: POST …/tickets gives a new one";
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).authenticate(challenge)
    }

    /// 403 `insufficient_scope`: any of `scopes` would do.
    pub fn insufficient_scope(scopes: &[Scope]) -> Self {
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("the access token's scope must have {}", names.join(" or "));
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", names.first().unwrap_or(&""));
        let problem = Self::new(StatusCode::FORBIDDEN, "insufficient_scope", detail).with("scope", names);
        Problem { authenticate: HeaderValue::try_from(challenge).ok().map(Box::new), ..problem }
    }

    /// 403.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    fn authenticate(self, challenge: HeaderValue) -> Self {
        Problem { authenticate: Some(Box::new(challenge)), ..self }
    }

    /// 405 with the methods that there are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path knows {allow}");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        Problem { allow: Some(allow), ..problem }
    }

    /// 415 `unsupported_media_type`.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// 409: the job has ended, or waits. `code` says who asked.
    pub fn settled(code: &'static str, status: Status) -> Self {
        let detail = format!("the job's status is {}: nothing can follow on this generation", status.as_str());
        Self::new(StatusCode::CONFLICT, code, detail).with("jobStatus", status.as_str())
    }

    /// A refused append: like a refused command, but it is a record that breaks the rule.
    pub fn of_push(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refused(refusal, "invalid_record"),
            other => other.into(),
        }
    }

    /// The bytes of the body.
    pub fn body(&self) -> String {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:rejoin:error:{}", self.code).into());
        body.insert("title".into(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        body.insert("code".into(), self.code.into());
        body.extend(self.members.clone());
        Value::Object(body).to_string()
    }

    /// The answer.
    pub fn response(&self) -> Response {
        let mut response = answer::text(self.status, "application/problem+json", self.body());
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = &self.authenticate {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::clone(challenge));
        }
        response
    }
}

/// When a place for another active job may be free.
const TOO_MANY_RETRY_S: u64 = 5;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable(_) => "store_unavailable",
            StoreError::Full { .. } => "store_full",
            StoreError::TooManyJobs { jobs_max, .. } => {
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", error.to_string());
                return problem.with("jobsMax", jobs_max).retry_after(TOO_MANY_RETRY_S);
            }
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string()).retry_after(1)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let unavailable =
            |code, detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(1);
        let broken = |code, detail: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail);
        match failure {
            Failure::Refused(refusal) => refused(refusal, "invalid_request"),
            // What the trap says is for the operator's log: it may quote what was pushed.
            Failure::Trapped(_) => {
                broken("component_trap", "the component failed on this request; nothing of it was stored".into())
            }
            Failure::LimitExceeded(_) => broken("limit_exceeded", failure.to_string()),
            Failure::Store(error) => error.into(),
            Failure::Overloaded => unavailable("overloaded", failure.to_string()),
            Failure::Contended => unavailable("contended", failure.to_string()),
        }
    }
}

fn refused(refusal: Refusal, invalid: &'static str) -> Problem {
    let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
    match refusal {
        Refusal::NotFound => Problem::not_found(),
        Refusal::NotActive(status) => Problem::settled("not_active", Status::from(status)),
        Refusal::GenerationReplaced(by) => {
            conflict("generation_replaced", format!("generation {by} has taken the stream over: stop"))
                .with("generation", by)
        }
        Refusal::AlreadyActive(active) => {
            let detail = format!(
                "generation {active} is active: wait for its end, abort it, or create with ifActive \"replace\""
            );
            conflict("already_active", detail).with("generation", active)
        }
        Refusal::GenerationMismatch(current) => {
            let detail = format!("the current generation is {current} (0: none): read the stream and decide again");
            conflict("generation_mismatch", detail).with("generation", current)
        }
        Refusal::Forbidden => {
            Problem::new(StatusCode::FORBIDDEN, "forbidden", "another user owns this stream: choose another id")
        }
        Refusal::NoSuchAction => {
            conflict("no_such_action", "this action is not pending: it was answered before, or never asked".into())
        }
        Refusal::Paused => {
            conflict("requires_action", "the job waits for a person's answer: resolve its action first".into())
                .with("jobStatus", Status::RequiresAction.as_str())
        }
        Refusal::Invalid(rule) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, invalid, rule),
        Refusal::RecordTooLarge(max) => record_too_large(max),
        Refusal::LogFull => {
            conflict("log_full", "the generation reached its limit of records or bytes and has ended in error".into())
        }
        Refusal::ProducerGap(expected) => {
            let detail =
                format!("the producer skipped something: {expected} was expected (Producer-Seq or records of it)");
            conflict("producer_gap", detail).with("expected", expected)
        }
        Refusal::Behind(_) | Refusal::Busy | Refusal::Lost => Failure::Contended.into(),
    }
}

/// 413 for a record above the limit, whoever notices it.
pub fn record_too_large(max: u64) -> Problem {
    let detail = format!("a record has at most {max} bytes: split it, or raise --record-bytes-max");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "record_too_large", detail).with("bytesMax", max)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn a_problem_is_rfc_9457_with_a_code() {
        let problem = Problem::settled("not_active", Status::Aborted).with("line", 3);
        let expected = concat!(
            r#"{"code":"not_active","detail":"the job's status is aborted: nothing can follow on this generation","#,
            r#""jobStatus":"aborted","line":3,"status":409,"title":"Conflict","type":"urn:rejoin:error:not_active"}"#,
        );
        assert_eq!(problem.body(), expected);
        assert_eq!(problem.response().headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn the_same_refusal_of_a_push_and_of_a_command_differ_only_where_a_record_is_meant() {
        let invalid = || Failure::Refused(Refusal::Invalid("a rule".into()));
        assert_eq!(Problem::of_push(invalid()).code, "invalid_record");
        assert_eq!(Problem::from(invalid()).code, "invalid_request");
        assert_eq!(Problem::of_push(Failure::Contended).code, "contended");
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for failure in [
            Failure::Contended,
            Failure::Overloaded,
            Failure::Refused(Refusal::Busy),
            Failure::Store(StoreError::Unavailable("no route".into())),
            Failure::Store(StoreError::Full { bytes_max: 1 }),
        ] {
            let response = Problem::from(failure).response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
        }
    }

    #[test]
    fn what_a_trap_says_is_not_sent() {
        let problem = Problem::from(Failure::Trapped("secret".into()));
        assert!(problem.status == 500 && !problem.body().contains("secret"));
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        assert_eq!(Problem::method_not_allowed("GET, HEAD").response().headers()[ALLOW], "GET, HEAD");
    }
}
