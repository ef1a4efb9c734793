use super::*;

#[track_caller]
fn response(chunks: &[&str], expected: &[&str]) {
    check(Dialect::OpenaiResponses, chunks, expected);
}

fn event(kind: &str, rest: &str) -> String {
    format!(r#"{{"type":"response.{kind}","output_index":0,"content_index":0,"summary_index":0,{rest}}}"#)
}

fn item(kind: &str, item: &str) -> String {
    event(&format!("output_item.{kind}"), &format!(r#""item":{item}"#))
}

#[test]
fn a_text_that_comes_four_times_is_told_once() {
    let part = r#"{"type":"output_text","text":"Hi “you”","annotations":[{"url":"u"},{"url":"v"}]}"#;
    let message = format!(r#"{{"id":"m1","type":"message","content":[{part}]}}"#);
    response(
        &[
            r#"{"type":"response.created","response":{"id":"resp_1"}}"#,
            &item("added", r#"{"id":"m1","type":"message","content":[]}"#),
            &event("content_part.added", r#""part":{"type":"output_text","text":"","annotations":[]}"#),
            &event("output_text.delta", r#""delta":"Hi ""#),
            &event("output_text.delta", r#""delta":"\u201cyou”""#),
            &event("output_text.annotation.added", r#""annotation":{"url":"u"}"#),
            &event("output_text.done", r#""text":"Hi “you”""#),
            &event("content_part.done", &format!(r#""part":{part}"#)),
            &item("done", &message),
            &format!(
                r#"{{"type":"response.completed","response":{{"id":"resp_1","output":[{message}],"usage":{{"total_tokens":5}}}}}}"#
            ),
        ],
        &[
            "message",
            "text Hi ",
            r"text \u201cyou”",
            r#"cite {"url":"u"}"#,
            r#"cite {"url":"v"}"#,
            r#"finish {"reason":"completed"}"#,
            r#"usage {"total_tokens":5}"#,
        ],
    );
}

#[test]
fn what_only_the_end_tells_is_told() {
    let output = r#"[{"id":"r","type":"reasoning","summary":[{"type":"summary_text","text":"S"}],"content":[{"type":"reasoning_text","text":"R"}]},
        {"id":"m","type":"message","content":[{"type":"output_text","text":"Hi"},{"type":"refusal","refusal":"No"}]},
        {"id":"f","type":"function_call","call_id":"c","name":"f","arguments":"{}"}]"#;
    let expected = [
        "message",
        "think S",
        r"think \n\n",
        "think R",
        "message",
        "text Hi",
        "message",
        "refusal",
        "text No",
        "call c f",
        "args {}",
        "done c f {} -",
    ];
    let end = format!(r#"{{"type":"response.completed","response":{{"id":"x","output":{output}}}}}"#).replace('\n', "");
    response(&[&end, &end], &[&expected[..], &[r#"finish {"reason":"completed"}"#]].concat());
    response(
        &[
            &event("output_text.delta", r#""delta":"Hel""#),
            &event("output_text.done", r#""text":"Hello \"you\"""#),
            &event("output_text.done", r#""text":"Hello \"you\"""#),
        ],
        &["message", "text Hel", r#"text lo \"you\""#],
    );
}

#[test]
fn thoughts_of_one_item_are_paragraphs_and_of_two_items_steps() {
    let delta = |number: u64, text: &str| {
        format!(
            r#"{{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":{number},"delta":"{text}"}}"#
        )
    };
    response(
        &[
            &item("added", r#"{"id":"r","type":"reasoning","summary":[]}"#),
            &delta(0, "A"),
            &delta(0, "B"),
            &event("reasoning_summary_text.done", r#""text":"AB""#),
            &event("reasoning_summary_part.done", r#""part":{"type":"summary_text","text":"AB"}"#),
            &delta(1, "C"),
            &item(
                "done",
                r#"{"id":"r","type":"reasoning","summary":[{"type":"summary_text","text":"AB"},{"type":"summary_text","text":"C"}]}"#,
            ),
            r#"{"type":"response.reasoning_text.delta","output_index":1,"content_index":0,"delta":"D"}"#,
        ],
        &["message", "think A", "think B", r"think \n\n", "think C", "message", "think D"],
    );
}

#[test]
fn a_refusal_is_text_in_a_step_that_is_marked() {
    response(
        &[&event("refusal.delta", r#""delta":"I can""#), &event("refusal.done", r#""refusal":"I cannot""#)],
        &["message", "refusal", "text I can", "text not"],
    );
}

#[test]
fn a_function_call_is_complete_when_its_item_is() {
    response(
        &[
            &item("added", r#"{"id":"fc","type":"function_call","call_id":"c","name":"f","arguments":""}"#),
            &event("function_call_arguments.delta", r#""item_id":"fc","delta":"{\"a\":""#),
            &event("function_call_arguments.delta", r#""item_id":"fc","delta":"1}""#),
            &event("function_call_arguments.done", r#""item_id":"fc","arguments":"{\"a\":1}""#),
            &item("done", r#"{"id":"other","type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}"#),
        ],
        &["call c f", r#"args {\"a\":"#, "args 1}", r#"done c f {\"a\":1} -"#],
    );
}

#[test]
fn a_call_whose_item_never_ends_is_complete_with_the_body() {
    response(
        &[
            &item("added", r#"{"id":"ct","type":"custom_tool_call","call_id":"c","name":"sql","input":""}"#),
            &event("custom_tool_call_input.delta", r#""delta":"SELECT""#),
            &event("custom_tool_call_input.done", r#""input":"SELECT 1""#),
        ],
        &["call c sql", "args SELECT", "args  1", "done c sql SELECT 1 -"],
    );
}

#[test]
fn code_is_streamed_as_json_arguments() {
    response(
        &[
            &item("added", r#"{"id":"ci","type":"code_interpreter_call","code":""}"#),
            &event("code_interpreter_call_code.delta", r#""delta":"a=\"1\"\n""#),
            &event("code_interpreter_call_code.done", r#""code":"a=\"1\"\nb""#),
            &item(
                "done",
                r#"{"id":"ci","type":"code_interpreter_call","code":"a=\"1\"\nb","outputs":[{"type":"logs","logs":"1"}]}"#,
            ),
        ],
        &[
            "call ci code_interpreter",
            r#"args {\"code\":\""#,
            r#"args a=\\\"1\\\"\\n"#,
            "args b",
            r#"args \"}"#,
            r#"done ci code_interpreter {\"code\":\"a=\\\"1\\\"\\nb\"} [{\"type\":\"logs\",\"logs\":\"1\"}]"#,
        ],
    );
}

#[test]
fn every_kind_of_call_has_a_name_arguments_and_what_it_gave() {
    for (done, expected) in [
        (
            r#"{"id":"i","type":"web_search_call","action":{"type":"search","query":"q"}}"#,
            r#"done i web_search {\"type\":\"search\",\"query\":\"q\"} -"#,
        ),
        (
            r#"{"id":"i","type":"file_search_call","queries":["q"],"results":[]}"#,
            r#"done i file_search {\"queries\":[\"q\"]} []"#,
        ),
        (
            r#"{"id":"i","type":"file_search_call","queries":["q"],"results":null}"#,
            r#"done i file_search {\"queries\":[\"q\"]} -"#,
        ),
        (
            r#"{"id":"i","type":"image_generation_call","revised_prompt":"p","result":"iVBO"}"#,
            r#"done i image_generation {\"revised_prompt\":\"p\"} iVBO"#,
        ),
        (r#"{"id":"i","type":"image_generation_call","result":"iVBO"}"#, r#"done i image_generation {} iVBO"#),
        (r#"{"id":"i","type":"mcp_call","name":"n","arguments":"{}","output":"out","error":null}"#, "done i n {} out"),
        (r#"{"id":"i","type":"mcp_call","name":"n","arguments":"","output":null,"error":"bad"}"#, "done i n  bad"),
        (r#"{"id":"i","type":"mcp_approval_request","name":"n","arguments":"{}"}"#, "done i n {} -"),
        (
            r#"{"id":"i","type":"computer_call","call_id":"c","action":{"type":"click"}}"#,
            r#"done c computer {\"type\":\"click\"} -"#,
        ),
        (
            r#"{"id":"i","type":"local_shell_call","call_id":"c","action":{"command":["ls"]}}"#,
            r#"done c local_shell {\"command\":[\"ls\"]} -"#,
        ),
        (
            r#"{"id":"i","type":"apply_patch_call","call_id":"c","operation":{"diff":"d"}}"#,
            r#"done c apply_patch {\"diff\":\"d\"} -"#,
        ),
        (r#"{"id":"i","type":"some_new_call"}"#, "done i some_new {} -"),
        (r#"{"id":"i","type":"shell_call_output","call_id":"c","output":[1]}"#, "done c - - [1]"),
        (
            r#"{"id":"i","type":"mcp_list_tools","tools":[]}"#,
            r#"mcp_list_tools {"id":"i","type":"mcp_list_tools","tools":[]}"#,
        ),
    ] {
        let brief = brief(&translate(Dialect::OpenaiResponses, &[&item("done", done)]));
        assert_eq!(brief.last().map(String::as_str), Some(expected));
    }
}

#[test]
fn an_error_and_the_failure_that_follows_are_one() {
    let failed = r#"{"type":"response.failed","response":{"id":"r","error":{"code":"server_error"}}}"#;
    let flat = r#"{"type":"error","code":"server_error","message":"m","sequence_number":2}"#;
    response(&[failed], &[r#"error {"error":{"code":"server_error"}}"#, r#"finish {"reason":"failed"}"#]);
    response(&[flat, failed], &[&format!(r#"error {{"error":{flat}}}"#), r#"finish {"reason":"failed"}"#]);
    response(
        &[r#"{"type":"error","error":{"type":"insufficient_quota"}}"#, failed],
        &[r#"error {"error":{"type":"insufficient_quota"}}"#, r#"finish {"reason":"failed"}"#],
    );
}

#[test]
fn an_incomplete_response_says_why() {
    response(
        &[
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"},"usage":{"a":1}}}"#,
        ],
        &[r#"finish {"reason":"max_output_tokens"}"#, r#"usage {"a":1}"#],
    );
}
