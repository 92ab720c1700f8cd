//! Claims about what is sent: to a collector in this process, which answers as it is told.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use prost::Message;
use tidegate_protocols::{CarriedOut, waits};

use super::*;
use crate::settings::table_from_toml;

/// A request, as the collector got it.
struct Got {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Default)]
struct Collected {
    got: Mutex<Vec<Got>>,
    /// What is answered next, before all is well again.
    answers: Mutex<VecDeque<(StatusCode, &'static str)>>,
}

type Answer = (StatusCode, [(&'static str, &'static str); 1]);

async fn collect(
    State(collected): State<Arc<Collected>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    collected.got.lock().push(Got { path: uri.path().to_owned(), headers, body });
    let (status, wait) = collected.answers.lock().pop_front().unwrap_or((StatusCode::OK, "0"));
    (status, [("retry-after", wait)])
}

/// A collector, and settings with its address.
async fn collector() -> (Arc<Collected>, Otlp) {
    let collected = Arc::new(Collected::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().fallback(collect).with_state(collected.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "endpoint = \"http://{address}/otel/\"\nheader = \"x-key\"\nsecret = {{ env = \"PATH\" }}\ntraces_per_second = 1000"
    );
    (collected, table_from_toml(&text).expect("settings"))
}

impl Collected {
    fn bodies<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let got = self.got.lock();
        let these = got.iter().filter(|got| got.path == path);
        these.map(|got| M::decode(got.body.clone()).expect("a message of OTLP")).collect()
    }

    fn spans(&self) -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
        let requests: Vec<ExportTraceServiceRequest> = self.bodies("/otel/v1/traces");
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// A call that waited for the journal.
async fn call(procedure: &str) {
    let client = IpAddr::from([10, 0, 0, 7]);
    let waited = async { waits::waited(waits::Wait::Journal, Duration::from_millis(30)) };
    let ((), waits) = waits::Waits::of(waited).await;
    let elapsed = Duration::from_millis(40);
    spans::follow(&CarriedOut { procedure, client, elapsed, waits: &waits, slow: true });
}

/// The queue of spans is the process's.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_collector_gets_what_the_page_shows_and_calls_with_what_they_waited_for() {
    let _alone = ALONE.lock().await;
    let (collected, otlp) = collector().await;
    let recorder = PrometheusBuilder::new().set_buckets(&[0.1, 1.0]).expect("buckets").build_recorder();
    let shown = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        metrics::STORE_SECONDS.with(&["test \"of\" otlp", "get"]).record(0.7);
        metrics::STORE_BYTES.with(&["main", "up"]).increment(7);
        metrics::CACHE_DIRTY_RATIO.with(&[]).set(0.5);
    });
    let page = || async { shown.render() };
    let before = page().await;
    let mut exporter = Exporter::new("here".to_owned());
    exporter.round(&otlp, &page).await;
    call("WRITE of this test").await;
    exporter.round(&otlp, &page).await;

    let requests: Vec<ExportMetricsServiceRequest> = collected.bodies("/otel/v1/metrics");
    assert_eq!(requests.len(), 1, "the next metrics are due in a minute");
    let resource = &requests[0].resource_metrics[0];
    let about = &resource.resource.as_ref().expect("a resource").attributes;
    assert!(about.contains(&text("service.name", "tidegate")) && about.contains(&text("host.name", "here")));
    let names: Vec<&str> = resource.scope_metrics[0].metrics.iter().map(|metric| &*metric.name).collect();
    for name in before.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(names.contains(&name), "{name}");
    }
    assert!(names.contains(&"tidegate_store_seconds"), "{names:?}");

    let spans = collected.spans();
    let root = spans.iter().find(|span| span.name == "WRITE of this test").expect("it is traced");
    assert_eq!(root.attributes, [text("client.address", "10.0.0.7")]);
    assert_eq!(root.end_time_unix_nano - root.start_time_unix_nano, 40_000_000);
    let wait = spans.iter().find(|span| span.parent_span_id == root.span_id).expect("what it waited for");
    assert_eq!((&*wait.name, &wait.trace_id), ("the journal", &root.trace_id));
    assert_eq!(wait.end_time_unix_nano - wait.start_time_unix_nano, 30_000_000);
    assert!(wait.end_time_unix_nano <= root.end_time_unix_nano);

    let path = std::env::var("PATH").expect("set");
    for got in collected.got.lock().iter() {
        assert_eq!(got.headers["content-type"], "application/x-protobuf");
        assert_eq!(got.headers["x-key"], path.as_str());
    }
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_busy_and_go_with_one_that_refuses_them() {
    let _alone = ALONE.lock().await;
    let (collected, otlp) = collector().await;
    let page = || async { String::new() };
    let mut exporter = Exporter::new("here".to_owned());
    exporter.round(&otlp, &page).await;
    call("READ that waits").await;
    collected.answers.lock().push_back((StatusCode::SERVICE_UNAVAILABLE, "240"));
    exporter.round(&otlp, &page).await;
    let (until, length) = exporter.traces.pause.expect("it is left alone");
    assert_eq!(length, Duration::from_secs(240), "as it asked");
    let before = collected.got.lock().len();
    exporter.round(&otlp, &page).await;
    assert_eq!(collected.got.lock().len(), before, "not asked until {until:?}");
    exporter.traces.pause = Some((Instant::now(), TICK));
    exporter.round(&otlp, &page).await;
    let names = || collected.spans().into_iter().map(|span| span.name).collect::<Vec<_>>();
    assert_eq!(names().iter().filter(|name| *name == "READ that waits").count(), 2, "asked once more");
    assert!(exporter.traces.pause.is_none());

    call("READ that is refused").await;
    collected.answers.lock().push_back((StatusCode::BAD_REQUEST, "0"));
    exporter.round(&otlp, &page).await;
    exporter.traces.pause = Some((Instant::now(), TICK));
    exporter.round(&otlp, &page).await;
    assert_eq!(names().iter().filter(|name| *name == "READ that is refused").count(), 1, "not asked again");

    // One that takes no metrics gets traces all the same, and is asked again at once when its settings change.
    exporter.metrics_due = Instant::now();
    collected.answers.lock().push_back((StatusCode::NOT_FOUND, "0"));
    call("READ beside refused metrics").await;
    exporter.round(&otlp, &page).await;
    assert!(exporter.metrics.rests() && !exporter.traces.rests());
    assert!(names().iter().any(|name| name == "READ beside refused metrics"));
    let before = collected.got.lock().len();
    let changed = Otlp { traces_per_second: 999, ..otlp.clone() };
    exporter.round(&changed, &page).await;
    assert!(collected.got.lock().len() > before && !exporter.metrics.rests());

    // Without an endpoint nothing is sent, and nothing waits for it.
    let none: Otlp = table_from_toml("").expect("settings");
    exporter.round(&none, &page).await;
    call("READ that nobody follows").await;
    assert!(spans::take(usize::MAX).iter().all(|span| span.name != "READ that nobody follows"));
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_a_collector_that_says_nothing() {
    let _alone = ALONE.lock().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let text = format!(
        "[otlp]\nendpoint = \"{endpoint}\"\n[repository]\nkey = {{ env = \"PATH\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///r\"\n[gateway]\n"
    );
    let settings =
        Arc::new(crate::settings::Settings::parse(&text).unwrap_or_else(|error| panic!("{error}")));
    let stop = CancellationToken::new();
    let exporting = tokio::spawn(export(
        "here".to_owned(),
        move || settings.clone(),
        || async { String::new() },
        stop.clone(),
    ));
    let (socket, _) = listener.accept().await.expect("it is called");
    stop.cancel();
    tokio::time::timeout(LAST_TIME * 3, exporting).await.expect("it ends").expect("well");
    drop(socket);
    spans::set_rate(0);
}
