//! The driver of `make interop`: does what it reads from standard input with the functions of the example.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use http::uri::PathAndQuery;
use prost::Message;
use swr_gateway_example::pb::{StreamReposRequest, StreamReposResponse};
use swr_gateway_example::{Client, Connection, Settings, connect, list_all, tls};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{KeyAndValueRef, MetadataKey, MetadataMap};
use tonic::{Request, Status};
use tonic_types::{ErrorDetail, StatusExt};

mod interop {
    include!(concat!(env!("OUT_DIR"), "/swr_gateway.interop.rs"));
}

use interop::call::Request as Wanted;
use interop::command::Kind;
use interop::{Call, Command, Connect, Outcome, Violation};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
struct Connected {
    connection: Connection,
    max_reply_bytes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut connected = None;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command = Command::decode(BASE64_STANDARD.decode(line.trim())?.as_slice())?;
        let outcome = perform(command, &mut connected).await?;
        println!("{}", BASE64_STANDARD.encode(outcome.encode_to_vec()));
    }
    Ok(())
}

async fn perform(command: Command, connected: &mut Option<Connected>) -> Result<Outcome, Failure> {
    let calls = match command.kind {
        Some(Kind::Connect(wanted)) => {
            connected.take(); // dropping the last clone closes the connection
            return Ok(match open(wanted) {
                Ok(opened) => {
                    *connected = Some(opened);
                    Outcome::default()
                }
                Err(error) => Outcome {
                    unsupported: explained(&*error),
                    ..Outcome::default()
                },
            });
        }
        Some(Kind::Calls(calls)) => calls.calls,
        None => Vec::new(),
    };
    if calls.iter().any(|call| call.wait_for_ready) {
        let unsupported = "tonic has no wait for ready.".to_owned();
        return Ok(Outcome {
            unsupported,
            ..Outcome::default()
        });
    }
    let connected = connected.as_ref().ok_or("no connection was asked for")?;
    let results = join_all(calls.iter().map(|call| make(call, connected))).await;
    Ok(Outcome {
        results,
        ..Outcome::default()
    })
}

fn open(wanted: Connect) -> Result<Connected, Failure> {
    let mut settings = Settings::default();
    if !wanted.token.is_empty() {
        settings.token = Some(wanted.token);
    }
    if !wanted.ca.is_empty() {
        let identity = (wanted.certificate.as_str(), wanted.key.as_str());
        settings.tls = Some(tls(
            &wanted.ca,
            (!identity.0.is_empty()).then_some(identity),
        )?);
    }
    if wanted.eager_keepalive {
        settings.keepalive = Duration::from_secs(1);
        settings.keepalive_while_idle = true;
    }
    let max_reply_bytes = usize::try_from(wanted.max_reply_bytes)?;
    Ok(Connected {
        connection: connect(&wanted.target, settings)?,
        max_reply_bytes,
    })
}

/// What an error says, and what is behind it: of a transport's error that is all.
fn explained(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", explained(source)),
        None => error.to_string(),
    }
}

async fn make(call: &Call, connected: &Connected) -> interop::Result {
    let mut result = interop::Result::default();
    let made = run(call, connected, &mut result);
    let ended = match call.cancel_after_ms {
        0 => made.await,
        // A call is cancelled by dropping it, and then there is no status.
        limit => timeout(Duration::from_millis(limit as u64), made)
            .await
            .unwrap_or_else(|_| Err(dropped())),
    };
    if let Err(status) = ended {
        describe(&status, &mut result);
    }
    result
}

fn dropped() -> Status {
    Status::cancelled("the call was dropped")
}

async fn run(
    call: &Call,
    connected: &Connected,
    result: &mut interop::Result,
) -> Result<(), Status> {
    let mut client = Client::new(connected.connection.clone());
    if connected.max_reply_bytes > 0 {
        client = client.max_decoding_message_size(connected.max_reply_bytes);
    }
    if call.gzip {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    match &call.request {
        Some(Wanted::List(wanted)) => {
            let response = client.list_repos(request(call, wanted.clone())).await?;
            record(response.metadata(), result);
            result.pages.push(response.into_inner());
            Ok(())
        }
        Some(Wanted::Stream(wanted)) => stream(client, call, wanted, result).await,
        Some(Wanted::ListAll(wanted)) => whole(client, call, wanted, result).await,
        Some(Wanted::Unknown(_)) => unknown(call, connected).await,
        None => Ok(()),
    }
}

async fn stream(
    mut client: Client,
    call: &Call,
    wanted: &StreamReposRequest,
    result: &mut interop::Result,
) -> Result<(), Status> {
    let response = client.stream_repos(request(call, wanted.clone())).await?;
    record(response.metadata(), result);
    let mut messages = response.into_inner();
    while let Some(message) = messages.message().await? {
        take(message, call, result).await?;
    }
    if let Some(trailers) = messages.trailers().await? {
        record(&trailers, result);
    }
    Ok(())
}

async fn whole(
    client: Client,
    call: &Call,
    wanted: &StreamReposRequest,
    result: &mut interop::Result,
) -> Result<(), Status> {
    let limit = (call.timeout_ms > 0).then(|| Duration::from_millis(call.timeout_ms as u64));
    let mut messages = pin!(list_all(
        client,
        wanted.clone(),
        metadata(call),
        limit,
        |_| ()
    ));
    while let Some(message) = messages.next().await {
        take(message?, call, result).await?;
    }
    Ok(())
}

async fn take(
    message: StreamReposResponse,
    call: &Call,
    result: &mut interop::Result,
) -> Result<(), Status> {
    result.messages.push(message);
    if result.messages.len() == call.cancel_after_messages as usize {
        return Err(dropped());
    }
    if call.pause_ms > 0 {
        sleep(Duration::from_millis(call.pause_ms as u64)).await;
    }
    Ok(())
}

async fn unknown(call: &Call, connected: &Connected) -> Result<(), Status> {
    let mut grpc = Grpc::new(connected.connection.clone());
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/gateway.swr.v1.RepoService/Unknown");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    grpc.unary(request(call, ()), path, codec).await.map(|_| ())
}

fn request<T>(call: &Call, message: T) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata(call);
    if call.timeout_ms > 0 {
        request.set_timeout(Duration::from_millis(call.timeout_ms as u64));
    }
    request
}

fn metadata(call: &Call) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in &call.metadata {
        let name = MetadataKey::from_bytes(name.as_bytes()).expect("a name of metadata");
        metadata.insert(name, value.parse().expect("a value of metadata"));
    }
    metadata
}

fn record(metadata: &MetadataMap, result: &mut interop::Result) {
    for pair in metadata.iter() {
        if let KeyAndValueRef::Ascii(name, value) = pair {
            result.metadata.insert(
                name.to_string(),
                value.to_str().unwrap_or_default().to_owned(),
            );
        }
    }
}

fn describe(status: &Status, result: &mut interop::Result) {
    result.code = i32::from(status.code());
    result.message = status.message().to_owned();
    record(status.metadata(), result);
    for detail in status.get_error_details_vec() {
        let name = match detail {
            ErrorDetail::ErrorInfo(info) => {
                result.reason = info.reason;
                result.domain = info.domain;
                result.error_metadata = info.metadata;
                "ErrorInfo"
            }
            ErrorDetail::BadRequest(request) => {
                for violation in request.field_violations {
                    result.violations.push(Violation {
                        field: violation.field,
                        description: violation.description,
                    });
                }
                "BadRequest"
            }
            ErrorDetail::RetryInfo(retry) => {
                result.retry_delay_ms = retry
                    .retry_delay
                    .map_or(0, |delay| delay.as_millis() as i64);
                "RetryInfo"
            }
            ErrorDetail::RequestInfo(request) => {
                result.request_id = request.request_id;
                "RequestInfo"
            }
            ErrorDetail::QuotaFailure(_) => "QuotaFailure",
            _ => "unread",
        };
        result.details.push(format!("google.rpc.{name}"));
    }
}
