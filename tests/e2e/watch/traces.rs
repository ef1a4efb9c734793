//! Traces: from the client's `traceparent` through the request and the engine to the store, as a collector gets them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rejoin_tests::answer;
use rejoin_tests::command::{Program, run};
use rejoin_tests::steady::steady;
use rejoin_tests::wait::{soon, until};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;

/// A collector: every span that it is sent. Ended with the test's runtime.
async fn collector() -> Result<(SocketAddr, UnboundedReceiver<Span>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, (sender, spans)) = (listener.local_addr()?, unbounded_channel());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
                    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                    let body = request.into_body().collect().await.expect("a whole body").to_bytes();
                    let batch = ExportTraceServiceRequest::decode(body).expect("protobuf");
                    let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                    scopes.flat_map(|scope| scope.spans).for_each(|span| drop(sender.send(span)));
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::new())))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok((address, spans))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_client_through_the_append() -> Result<()> {
    let (address, mut spans) = collector().await?;
    let mut program = Program::start(&["--otlp-endpoint", &format!("http://{address}")]).await?;
    let client = program.client();
    client.create("chat-1", &json!({"userId": "secret-user"})).await?;
    let parent = format!("00-{TRACE:032x}-{PARENT:016x}-01");
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("traceparent", parent.as_str()),
        ("authorization", "Bearer secret-token"),
    ];
    let body = answer(2).join("\n");
    let answered = client.send("POST", "/v1/streams/chat-1/events?q=secret", &headers, body).await?.expect(200)?;
    // The flush at the end brings what still waits.
    program.signal("TERM").await?;
    assert_eq!(program.end().await?, Some(0));

    let mut all = Vec::new();
    while let Ok(span) = spans.try_recv() {
        all.push(span);
    }
    ensure!(!format!("{all:?}").contains("secret"), "{all:#?}");
    let of_trace = |name: &str| {
        let found = all.iter().find(|span| span.trace_id == TRACE.to_be_bytes() && span.name == name);
        found.with_context(|| format!("no {name} in {all:#?}"))
    };
    let request = of_trace("POST /v1/streams/{id}/events")?;
    let (command, append) = (of_trace("command")?, of_trace("append")?);
    assert_eq!(request.parent_span_id, PARENT.to_be_bytes());
    assert_eq!(command.parent_span_id, request.span_id);
    assert_eq!(append.parent_span_id, command.span_id);
    let told =
        format!("00-{TRACE:032x}-{}-01", request.span_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(answered.header("traceresponse"), told);
    let attributes = format!("{:?}", request.attributes);
    for part in ["http.route", "/v1/streams/{id}/events", "chat-1", "http.response.status_code", "rejoin.records"] {
        ensure!(attributes.contains(part), "{part} is missing in {attributes}");
    }
    // Without a parent the trace begins here.
    let root = all.iter().find(|span| span.name == "POST /v1/streams/{id}").context("the creation")?;
    ensure!(root.parent_span_id.is_empty() && root.trace_id != TRACE.to_be_bytes(), "{root:#?}");
    Ok(())
}

/// The time to stop is used up by a producer that does not finish: the traces get nothing beyond it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_traces_get_what_is_left_of_the_time_to_stop() -> Result<()> {
    steady(async || {
        // It takes connections, and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", silent.local_addr()?);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("log");
        let arguments = ["--otlp-endpoint", &endpoint, "--shutdown-max", "500ms", "--log-format", "json"];
        let mut program = Program::start_logging(&arguments, "rejoin=info", std::fs::File::create(&path)?).await?;
        let client = program.client();
        client.create("s", &json!({})).await?;
        let mut live = client.follow("s", None).await?;
        let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/x-ndjson")]);
        upload.send(format!("{}\n", answer(1)[0])).await?;
        live.take(1).await?;
        let began = Instant::now();
        program.signal("TERM").await?;
        assert_eq!(soon("the end", program.end()).await??, Some(0));
        // The traces alone would take two seconds more.
        ensure!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let last = async || {
            let log = std::fs::read_to_string(&path)?;
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut lines =
                lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains("last traces")));
            Ok(lines.next())
        };
        let last = until("the line about the traces", last).await?;
        assert_eq!(last["waited_ms"], 0, "{last}");
        Ok(())
    })
    .await
}

/// What is not sampled is not sent; and a collector that is away holds nobody up, not even the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_costs_nobody_time() -> Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", nobody.local_addr()?);
    let mut program = Program::start(&["--otlp-endpoint", &endpoint]).await?;
    program.client().create("s", &json!({})).await?;
    program.client().append("s", &answer(3)).await?.expect(200)?;
    program.signal("TERM").await?;
    assert_eq!(soon("the end", program.end()).await??, Some(0));
    for bad in
        ["https://collector", "collector:4318", "http://", "http://user:secret@collector", "http://collector/path"]
    {
        let output = run(&["--otlp-endpoint", bad], &[]).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(64) && said.contains("--otlp-endpoint"), "{bad}: {said}");
    }
    Ok(())
}
