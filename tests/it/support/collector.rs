//! A collector that takes spans by OTLP, over gRPC or HTTP, with TLS or
//! without: tonic's and prost's reading of what the gateway sends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::LIMIT;
use super::tls::Issued;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What it does with the next batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Takes it without this many of its spans.
    TakeWithout(i64),
    /// Is busy: `UNAVAILABLE`, or 503.
    Busy,
    /// Does not want it, now or ever: `INVALID_ARGUMENT`, or 400.
    Refuse,
    /// Says nothing.
    Never,
}

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    Grpc,
    Http,
}

/// A running collector.
pub struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<Answer>>,
    batches: Mutex<Vec<ExportTraceServiceRequest>>,
    asked: Mutex<usize>,
    paths: Mutex<Vec<String>>,
}

impl Collector {
    /// Takes everything.
    pub fn start(speech: Speech) -> Self {
        Self::answering(speech, &[])
    }

    /// Does this with the first batches, and takes those after.
    pub fn answering(speech: Speech, answers: &[Answer]) -> Self {
        Self::launch(speech, answers, None)
    }

    /// Takes everything over TLS.
    pub fn over_tls(speech: Speech, issued: &Issued) -> Self {
        Self::launch(speech, &[], Some(acceptor(speech, issued)))
    }

    fn launch(speech: Speech, answers: &[Answer], tls: Option<TlsAcceptor>) -> Self {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(State::default());
        state.answers.lock().unwrap().extend(answers);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let state = state.clone();
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = TcpListener::from_std(socket).unwrap();
                    tokio::select! {
                        () = accept(listener, speech, tls, state) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Its endpoint, as it is configured.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many batches were sent to it.
    pub fn asked(&self) -> usize {
        *self.state.asked.lock().unwrap()
    }

    /// The paths of all requests.
    pub fn paths(&self) -> Vec<String> {
        self.state.paths.lock().unwrap().clone()
    }

    /// The spans that it took.
    pub fn spans(&self) -> Vec<Span> {
        let batches = self.state.batches.lock().unwrap();
        let resources = batches.iter().flat_map(|batch| &batch.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The attributes of whoever sent the first batch.
    pub fn resource(&self) -> Vec<KeyValue> {
        let batches = self.state.batches.lock().unwrap();
        batches[0].resource_spans[0].resource.clone().expect("a resource").attributes
    }

    /// Waits for as many spans.
    #[track_caller]
    pub fn wait(&self, count: usize) -> Vec<Span> {
        let start = std::time::Instant::now();
        loop {
            let spans = self.spans();
            if spans.len() >= count {
                assert_eq!(spans.len(), count, "{spans:#?}");
                return spans;
            }
            assert!(start.elapsed() < LIMIT, "only {} spans: {spans:#?}", spans.len());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits for one server span and as many client spans.
    #[track_caller]
    pub fn wait_request(&self, clients: usize) -> (Span, Vec<Span>) {
        let (servers, clients): (Vec<_>, Vec<_>) =
            self.wait(1 + clients).into_iter().partition(is_server);
        assert_eq!(servers.len(), 1, "{servers:#?}");
        (servers[0].clone(), clients)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        let result = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(result.is_none_or(|result| result.is_ok()) || std::thread::panicking());
    }
}

/// Whether it is a span of a call.
pub fn is_server(span: &Span) -> bool {
    span.kind == SpanKind::Server as i32
}

/// An attribute as text; numbers as they are written.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found: Vec<_> = attributes.iter().filter(|attribute| attribute.key == key).collect();
    assert!(found.len() <= 1, "{key} is there twice");
    match found.first()?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// An id in the digits in which it is sent in headers.
pub fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

async fn accept(
    listener: TcpListener,
    speech: Speech,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, speech, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, speech, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    speech: Speech,
    state: Arc<State>,
) {
    let io = TokioIo::new(stream);
    // Whoever sends may leave whenever it likes.
    match speech {
        Speech::Grpc => {
            let service = service_fn(move |request| called(request, state.clone()));
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        }
        Speech::Http => {
            let service = service_fn(move |request| posted(request, state.clone()));
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(io, service).await;
        }
    }
}

impl State {
    async fn answer(&self, batch: ExportTraceServiceRequest) -> Answer {
        *self.asked.lock().unwrap() += 1;
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Take);
        match answer {
            Answer::Take | Answer::TakeWithout(_) => self.batches.lock().unwrap().push(batch),
            Answer::Never => std::future::pending().await,
            Answer::Busy | Answer::Refuse => {}
        }
        answer
    }
}

fn thanks(answer: Answer) -> ExportTraceServiceResponse {
    let partial_success = match answer {
        Answer::TakeWithout(rejected_spans) => {
            let error_message = "too old".to_owned();
            Some(ExportTracePartialSuccess { rejected_spans, error_message })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }
}

/// The service `TraceService`, by tonic.
struct Export(Arc<State>);

impl tonic::server::UnaryService<ExportTraceServiceRequest> for Export {
    type Response = ExportTraceServiceResponse;
    type Future = Pin<
        Box<dyn Future<Output = Result<tonic::Response<Self::Response>, tonic::Status>> + Send>,
    >;

    fn call(&mut self, request: tonic::Request<ExportTraceServiceRequest>) -> Self::Future {
        let state = self.0.clone();
        Box::pin(async move {
            match state.answer(request.into_inner()).await {
                Answer::Busy => Err(tonic::Status::unavailable("not now")),
                Answer::Refuse => Err(tonic::Status::invalid_argument("never")),
                answer => Ok(tonic::Response::new(thanks(answer))),
            }
        })
    }
}

async fn called(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    state.paths.lock().unwrap().push(request.uri().path().to_owned());
    assert_eq!(request.uri().path(), EXPORT);
    let codec = tonic_prost::ProstCodec::default();
    Ok(tonic::server::Grpc::new(codec).unary(Export(state), request).await)
}

async fn posted(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    state.paths.lock().unwrap().push(request.uri().path().to_owned());
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let content = request.into_body().collect().await.expect("a body").to_bytes();
    let batch = ExportTraceServiceRequest::decode(content).expect("OTLP");
    let (status, content) = match state.answer(batch).await {
        Answer::Busy => (503, Vec::new()),
        Answer::Refuse => (400, Vec::new()),
        answer => (200, thanks(answer).encode_to_vec()),
    };
    let response = Response::builder().status(status);
    Ok(response.body(Full::new(content.into())).unwrap())
}

fn acceptor(speech: Speech, issued: &Issued) -> TlsAcceptor {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der.clone()], key)
        .unwrap();
    config.alpn_protocols = match speech {
        Speech::Grpc => vec![b"h2".to_vec()],
        Speech::Http => vec![b"http/1.1".to_vec()],
    };
    TlsAcceptor::from(Arc::new(config))
}
