//! `serve`: the HTTP server.

mod akidb;
mod answer;
mod auth;
mod body;
mod connection;
mod field;
mod input;
mod listen;
mod metrics;
mod models;
mod openai;
mod problem;
mod router;
mod server;
mod signals;
mod status;
mod tei;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qwen3_embedding::service::{Drained, Service, ServiceError, ServiceOptions, Unavailable};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::args::{Limits, ServeArgs};
use crate::failure::Failure;
use crate::model::Model;
use auth::Keys;
use metrics::Metrics;
use problem::{Kind, Problem};
use server::{Orders, Server};
use signals::Signals;

/// Threads beside those of the model; bodies are small, so few are enough.
const MAX_THREADS: usize = 4;

/// For the model to end, once its callers have left.
const LAST_BATCH: Duration = Duration::from_secs(1);

/// Files that are no connections: libraries, weights, logs.
const OTHER_FILES: u64 = 128;

/// Serves until a signal asks it to end.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let keys = args
        .api_key_file
        .as_deref()
        .map(Keys::from_file)
        .transpose()?;
    let model = Model::find(&args.model)?;
    ask_for_files(args.limits.max_connections.get());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(threads)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting", &error))?;
    let outcome = runtime.block_on(run(args, keys, &model));
    // What still runs beside it is of no use any more.
    runtime.shutdown_background();
    let drained = outcome?;
    drop(model);
    // A batch may still be on the device, and the native library's destructors, which an ordinary
    // end would run, do not wait for it.
    signal_hook::low_level::exit(match drained {
        Drained::All => 0,
        Drained::Cut(_) => 1,
    })
}

async fn run(args: &ServeArgs, keys: Option<Keys>, model: &Model) -> Result<Drained, Failure> {
    let starting = |error| Failure::io("starting", &error);
    let mut signals = Signals::new().map_err(starting)?;
    let listener = listen::bind(&args.host, args.port)
        .await
        .map_err(|error| Failure::io(format!("{}:{}", args.host, args.port), &error))?;
    let address = listener.local_addr().map_err(starting)?;
    let server = Arc::new(server(args, keys, model)?);
    announce(address)?;
    warn_if_open(&server, address);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let app = router::router(Arc::clone(&server));
    let accepting = tokio::spawn(listen::accept(listener, app, Arc::clone(&server), async {
        let _ = stopped.await;
    }));
    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "draining");
            Ok(())
        }
        error = load_failed(&server.service) => Err(error),
    };
    let unpacked = model.unpacked();
    tokio::spawn(signals.end_at_next(move || discard(unpacked.as_deref())));
    server.orders.send_modify(|orders| orders.draining = true);
    let _ = stop.send(());
    let _ = accepting.await;
    let drained = drain(&server).await;
    ended.map(|()| drained)
}

/// Removes the built-in model's files, where nothing else will.
fn discard(unpacked: Option<&Path>) {
    let Some(dir) = unpacked else { return };
    if let Err(error) = std::fs::remove_dir_all(dir) {
        tracing::warn!(%error, "the built-in model's files were left behind");
    }
}

fn server(args: &ServeArgs, keys: Option<Keys>, model: &Model) -> Result<Server, Failure> {
    let limits = args.limits.clone();
    let service = service(args, model)?;
    let mut names = args.aliases.clone();
    names.push(model.name.clone());
    Ok(Server {
        service,
        names,
        keys,
        metrics: Metrics::default(),
        body_bytes: semaphore(limits.max_buffered_bytes.get()),
        connections: semaphore(limits.max_connections.get()),
        orders: watch::Sender::new(Orders::default()),
        started: SystemTime::now(),
        limits,
    })
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

fn service(args: &ServeArgs, model: &Model) -> Result<Service, Failure> {
    let started = Service::start(model.maker(&args.model), options(&args.limits));
    started.map_err(|error| Failure::Runtime(error.to_string()))
}

fn options(limits: &Limits) -> ServiceOptions {
    let options = ServiceOptions::default()
        .max_inputs(limits.max_inputs.get())
        .max_request_tokens(limits.max_request_tokens.get())
        .queue_inputs(limits.max_queued_inputs.get())
        .queue_bytes(limits.max_buffered_bytes.get());
    match limits.max_text_bytes {
        Some(bytes) => options.max_text_bytes(bytes.get()),
        None => options,
    }
}

/// One line for programs: where it listens.
fn announce(address: SocketAddr) -> Result<(), Failure> {
    let line = json!({"listening": format!("http://{address}")});
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("stdout", &error))
}

/// Systems give a process few files unless it asks; a connection takes one.
fn ask_for_files(connections: usize) {
    let wanted = connections as u64 + listen::CLOSING as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(limit, wanted, "connections may run out of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files is not known"),
    }
}

fn warn_if_open(server: &Server, address: SocketAddr) {
    if server.keys.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "other machines can reach this server and it asks for no key");
    }
}

/// Comes back only if the model cannot be loaded.
async fn load_failed(service: &Service) -> Failure {
    match service.loaded().await {
        Ok(()) => {
            let model = service.info();
            let fingerprint = model.map(|model| model.space.fingerprint().to_string());
            tracing::info!(fingerprint, "the model is loaded");
            std::future::pending().await
        }
        Err(ServiceError::Unavailable(Unavailable::LoadFailed(error))) => {
            Failure::Runtime(error.to_string())
        }
        Err(error) => Failure::Runtime(error.to_string()),
    }
}

/// Waits for the requests that have arrived, then ends the model.
async fn drain(server: &Server) -> Drained {
    let limit = server.limits.drain_timeout;
    let all = server.limits.max_connections.get();
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    let closed = tokio::time::timeout(limit, server.connections.acquire_many(all)).await;
    if closed.is_err() {
        tracing::warn!("connections were still open at the end of the time to drain");
    }
    let drained = server.service.shutdown(LAST_BATCH).await;
    match drained {
        Drained::All => tracing::info!("drained"),
        Drained::Cut(inputs) => tracing::warn!(inputs, "the time to drain was not enough"),
    }
    drained
}

/// Runs work that would keep a connection's thread too long.
async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(Kind::Internal, "the server failed"))
}
