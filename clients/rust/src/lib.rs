//! RepoService as an application calls it: connect, list everything, read why a call failed.

use std::error::Error;
use std::time::{Duration, Instant};

use async_stream::try_stream;
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

pub mod pb {
    tonic::include_proto!("gateway.swr.v1");
}

use pb::repo_service_client::RepoServiceClient;
use pb::{StreamReposRequest, StreamReposResponse};

/// Resumes in a row that lead no further.
const MAX_RESUMES: u32 = 3;
/// Who is asked to wait longer wants to know rather than to wait.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A connection whose calls are signed in. Cheap to clone, and so are clients of it.
pub type Connection = InterceptedService<Channel, Token>;
pub type Client = RepoServiceClient<Connection>;

/// How to connect.
pub struct Settings {
    /// Sent as `x-auth-token` with every call.
    pub token: Option<String>,
    /// None is plain text.
    pub tls: Option<ClientTlsConfig>,
    /// Time between pings. The gateway takes one every 5 seconds, other servers one in 5 minutes.
    pub keepalive: Duration,
    /// Whether they go on between calls.
    pub keepalive_while_idle: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: None,
            tls: None,
            keepalive: Duration::from_secs(30),
            keepalive_while_idle: false,
        }
    }
}

/// Reads PEM files: whom to trust, and what to show to a gateway that asks for a certificate.
pub fn tls(ca: &str, identity: Option<(&str, &str)>) -> std::io::Result<ClientTlsConfig> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
    Ok(match identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(
            std::fs::read(certificate)?,
            std::fs::read(key)?,
        )),
        None => tls,
    })
}

/// Opens a connection to `host:port` or `unix:/path`; nothing is connected before the first call.
pub fn connect(
    target: &str,
    settings: Settings,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let uri = if target.starts_with("unix:") {
        target.to_owned()
    } else {
        format!("{scheme}://{target}")
    };
    let mut endpoint = Endpoint::from_shared(uri)?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(settings.keepalive_while_idle);
    if let Some(tls) = settings.tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    let token = Token(settings.token.map(|token| token.parse()).transpose()?);
    Ok(InterceptedService::new(endpoint.connect_lazy(), token))
}

/// Signs calls in.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("x-auth-token", token.clone());
        }
        Ok(request)
    }
}

/// Streams the whole list. A stream that breaks is opened again behind its last message, and `on_resume` is told why.
pub fn list_all(
    mut client: Client,
    mut request: StreamReposRequest,
    metadata: MetadataMap,
    timeout: Option<Duration>,
    mut on_resume: impl FnMut(&Status),
) -> impl Stream<Item = Result<StreamReposResponse, Status>> {
    try_stream! {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut resumes = 0;
        loop {
            let mut call = Request::new(request.clone());
            *call.metadata_mut() = metadata.clone();
            if let Some(deadline) = deadline {
                call.set_timeout(deadline.saturating_duration_since(Instant::now()));
            }
            let failure = match client.stream_repos(call).await {
                Err(status) => status,
                Ok(response) => {
                    let mut messages = response.into_inner();
                    loop {
                        match messages.message().await {
                            Err(status) => break status,
                            Ok(None) => return,
                            Ok(Some(message)) => {
                                if message.next_offset > request.start_offset() {
                                    request.start_offset = Some(message.next_offset);
                                    resumes = 0;
                                }
                                yield message;
                            }
                        }
                    }
                }
            };
            let wait = wait_before_resume(&failure, resumes)
                .filter(|wait| deadline.is_none_or(|deadline| Instant::now() + *wait < deadline));
            match wait {
                Some(wait) => {
                    on_resume(&failure);
                    resumes += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => Err(failure)?,
            }
        }
    }
}

/// How long to wait before a broken stream is opened again; None where that does not help, or did not.
fn wait_before_resume(status: &Status, resumes: u32) -> Option<Duration> {
    if resumes == MAX_RESUMES {
        return None;
    }
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    // Without details it was not the gateway that ended the call: the connection broke.
    let broken = reason.is_empty()
        && matches!(
            status.code(),
            Code::Cancelled | Code::Internal | Code::Unknown
        );
    if status.code() != Code::Unavailable && reason != "SLOW_READER" && !broken {
        return None;
    }
    let wait = match status.metadata().get("grpc-retry-pushback-ms") {
        // gRPC's own wait wins; -1 asks not to try again.
        Some(pushback) => Duration::from_millis(pushback.to_str().ok()?.parse().ok()?),
        None => details
            .retry_info()
            .and_then(|retry| retry.retry_delay)
            .unwrap_or_else(|| Duration::from_millis(fastrand::u64(100..=200) << resumes)),
    };
    (wait <= MAX_WAIT).then_some(wait)
}
