//! Lists repositories: a page of a namespace, or with --all the whole list.

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use swr_gateway_example::pb::{ListReposRequest, Repo, RepoFilter, StreamReposRequest};
use swr_gateway_example::{Client, Settings, connect, list_all, tls};
use tokio_stream::StreamExt;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use tonic_types::StatusExt;

const USAGE: &str =
    "usage: [--target ADDRESS] [--namespace NAME] [--all] [--ca FILE [--cert FILE --key FILE]]";

#[derive(Default)]
struct Arguments {
    target: Option<String>,
    namespace: String,
    all: bool,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(given) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Err(error) = run(given).await else {
        return ExitCode::SUCCESS;
    };
    match error.downcast_ref::<Status>() {
        Some(status) => explain(status),
        None => eprintln!("{error}"),
    }
    ExitCode::FAILURE
}

/// Reads the command line; None where it says something else.
fn arguments() -> Option<Arguments> {
    let mut given = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--all" => given.all = true,
            "--target" => given.target = Some(words.next()?),
            "--namespace" => given.namespace = words.next()?,
            "--ca" => given.ca = Some(words.next()?),
            "--cert" => given.cert = Some(words.next()?),
            "--key" => given.key = Some(words.next()?),
            _ => return None,
        }
    }
    Some(given)
}

async fn run(given: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let identity = given.cert.as_deref().zip(given.key.as_deref());
    let settings = Settings {
        token: std::env::var("SWR_GATEWAY_TARGET_TOKEN").ok(),
        tls: given.ca.map(|ca| tls(&ca, identity)).transpose()?,
        ..Settings::default()
    };
    let client = Client::new(connect(
        given.target.as_deref().unwrap_or("127.0.0.1:50051"),
        settings,
    )?);
    let filter = RepoFilter {
        namespace: given.namespace,
        ..RepoFilter::default()
    };
    if given.all {
        list_everything(client, filter).await
    } else {
        list_page(client, filter).await
    }
}

async fn list_page(client: Client, filter: RepoFilter) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut request = Request::new(ListReposRequest {
        filter: Some(filter),
        offset: Some(0),
        limit: Some(10),
    });
    // Without a deadline a call takes as long as the gateway lets it.
    request.set_timeout(Duration::from_secs(10));
    // A page may pass tonic's limit of 4 MiB, and it was asked for.
    let page = client
        .max_decoding_message_size(usize::MAX)
        .list_repos(request)
        .await?
        .into_inner();
    page.repos.iter().for_each(print);
    let total = page
        .content_range
        .map_or("unknown".to_owned(), |range| range.total.to_string());
    println!("{} of {total}", page.repos.len());
    Ok(())
}

async fn list_everything(
    client: Client,
    filter: RepoFilter,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = StreamReposRequest {
        filter: Some(filter),
        ..StreamReposRequest::default()
    };
    let timeout = Some(Duration::from_secs(600));
    let mut messages = pin!(list_all(
        client,
        request,
        MetadataMap::new(),
        timeout,
        explain
    ));
    while let Some(message) = messages.next().await {
        message?.repos.iter().for_each(print);
    }
    Ok(())
}

fn print(repo: &Repo) {
    let updated = repo
        .updated_at
        .map_or("-".to_owned(), |time| time.to_string());
    println!(
        "{}/{}  {} bytes  {updated}",
        repo.namespace, repo.name, repo.size
    );
}

fn explain(status: &Status) {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    eprintln!("{:?} {reason}: {}", status.code(), status.message());
    for violation in details
        .bad_request()
        .map_or(&[][..], |request| &request.field_violations)
    {
        eprintln!("  {}: {}", violation.field, violation.description);
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        eprintln!("  try again in {delay:?}");
    }
    if let Some(request) = details.request_info() {
        eprintln!("  request id {}", request.request_id);
    }
}
