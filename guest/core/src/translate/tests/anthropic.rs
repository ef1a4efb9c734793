use super::*;

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","content":[],"usage":{"input_tokens":9,"cache":{},"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[track_caller]
fn message(chunks: &[&str], expected: &[&str]) {
    check(Dialect::AnthropicMessages, chunks, expected);
}

fn start(index: u64, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u64, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn stop(index: u64) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

#[test]
fn text_blocks_around_citations_are_one_message() {
    message(
        &[
            START,
            &start(0, r#"{"type":"text","text":"Said: "}"#),
            r#"{"type":"ping"}"#,
            &stop(0),
            &start(1, r#"{"citations":[],"type":"text","text":""}"#),
            &delta(1, r#"{"type":"citations_delta","citation":{"url":"u"}}"#),
            &delta(1, r#"{"type":"text_delta","text":"yes"}"#),
            &stop(1),
            STOP,
        ],
        &[
            "message",
            "text Said: ",
            r#"cite {"url":"u"}"#,
            "text yes",
            r#"usage {"input_tokens":9,"cache":{},"output_tokens":1}"#,
        ],
    );
}

#[test]
fn usage_of_both_ends_is_merged_and_told_once() {
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":null,"output_tokens":30,"new":[1]}}"#;
    message(
        &[START, last, STOP, STOP],
        &[r#"finish {"reason":"end_turn"}"#, r#"usage {"input_tokens":9,"cache":{},"output_tokens":30,"new":[1]}"#],
    );
}

#[test]
fn thoughts_in_a_row_are_steps_of_their_own_and_signatures_are_left_out() {
    message(
        &[
            &start(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
            &delta(0, r#"{"type":"thinking_delta","thinking":"One"}"#),
            &delta(0, r#"{"type":"signature_delta","signature":"abc"}"#),
            &stop(0),
            &start(1, r#"{"type":"thinking","thinking":"Two"}"#),
            &start(2, r#"{"type":"redacted_thinking","data":"xyz"}"#),
            &start(3, r#"{"type":"text","text":"Three"}"#),
        ],
        &[
            "message",
            "think One",
            "message",
            "think Two",
            r#"redacted_thinking {"type":"redacted_thinking","data":"xyz"}"#,
            "message",
            "text Three",
        ],
    );
}

#[test]
fn a_tool_call_is_complete_when_its_block_stops() {
    message(
        &[
            &start(1, r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#),
            &delta(1, r#"{"type":"input_json_delta","partial_json":""}"#),
            &delta(1, r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#),
            &delta(1, r#"{"type":"input_json_delta","partial_json":"1}"}"#),
            &stop(1),
            &start(2, r#"{"type":"text","text":"Now"}"#),
        ],
        &["call t1 f", r#"args {\"a\":"#, "args 1}", r#"done t1 f {\"a\":1} -"#, "message", "text Now"],
    );
}

#[test]
fn input_that_is_never_streamed_is_what_the_block_began_with() {
    for (input, expected) in [
        ("{}", &["call t f", "done t f {} -"][..]),
        (r#"{"a": "b"}"#, &["call t f", r#"args {\"a\": \"b\"}"#, r#"done t f {\"a\": \"b\"} -"#]),
        (r#""""#, &["call t f", "done t f  -"]),
    ] {
        message(
            &[&start(0, &format!(r#"{{"type":"tool_use","id":"t","name":"f","input":{input}}}"#)), &stop(0)],
            expected,
        );
    }
}

#[test]
fn a_tool_that_anthropic_runs_is_complete_with_its_result() {
    let result = r#"{"type":"web_search_tool_result","tool_use_id":"s1","content":[{"url":"u"}]}"#;
    message(
        &[
            &start(0, r#"{"type":"server_tool_use","id":"s1","name":"web_search","input":{}}"#),
            &delta(0, r#"{"type":"input_json_delta","partial_json":"{\"query\":\"q\"}"}"#),
            &stop(0),
            &start(1, r#"{"type":"mcp_tool_use","id":"m1","name":"echo","server_name":"s","input":{"x":1}}"#),
            &stop(1),
            &start(2, result),
            &stop(2),
        ],
        &[
            "call s1 web_search",
            r#"args {\"query\":\"q\"}"#,
            "call m1 echo",
            r#"args {\"x\":1}"#,
            r#"done s1 web_search {\"query\":\"q\"} [{\"url\":\"u\"}]"#,
            r#"done m1 echo {\"x\":1} -"#,
        ],
    );
}

#[test]
fn a_result_whose_call_was_in_an_earlier_body_is_found_by_its_id() {
    message(&[&start(0, r#"{"type":"mcp_tool_result","tool_use_id":"m0","content":"fine"}"#)], &["done m0 - - fine"]);
}

#[test]
fn a_call_cut_off_is_told_as_far_as_it_came() {
    message(
        &[
            &start(0, r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#),
            &delta(0, r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#),
        ],
        &["call t f", r#"args {\"a\":"#, r#"done t f {\"a\": -"#],
    );
}

#[test]
fn content_that_a_message_starts_with_is_told() {
    let start = r#"{"type":"message_start","message":{"id":"m","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]}}"#;
    message(&[start], &["call t f", r#"args {\"a\":1}"#, r#"done t f {\"a\":1} -"#]);
}

#[test]
fn an_error_is_told_as_anthropic_spells_it() {
    message(
        &[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#],
        &[r#"error {"error":{"type":"overloaded_error","message":"Overloaded"}}"#],
    );
}
