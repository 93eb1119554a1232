//! One connection: HTTP/1.1 with limits on heads and stalled readers, and an end that loses nothing.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use super::problem::{Api, Kind, Problem};
use super::server::{Orders, Server};

/// Bytes of a request's head; a longer one is answered 431.
const MAX_HEAD: usize = 16 << 10;
/// What hyper reads ahead of a slow handler, at most.
const MAX_BUFFER: usize = 64 << 10;
/// While draining, how long an idle connection may still bring a request that was on its way.
const GRACE: Duration = Duration::from_millis(500);
/// How long the rest of a refused request is read away, so that its sender sees the answer.
const LINGER: Duration = Duration::from_secs(2);

/// A socket whose stalled writes time out.
type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

/// Serves requests until either side closes; returns what is left to close.
pub(super) async fn serve(stream: TcpStream, app: Router, server: &Server) -> Closing {
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(server.limits.write_timeout));
    let busy = Arc::new(AtomicBool::new(false));
    let app = TowerToHyperService::new(app);
    let orders = server.orders.subscribe();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (busy, orders) = (Arc::clone(&busy), orders.clone());
        busy.store(true, Ordering::Relaxed);
        let answer = app.call(request);
        Box::pin(async move {
            let mut response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if orders.borrow().draining {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            busy.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.limits.header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut leave = pin!(leave(server.orders.subscribe(), &busy));
    let mut left = false;
    let end = std::future::poll_fn(|context| {
        if !left && leave.as_mut().poll(context).is_ready() {
            left = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(context)
    })
    .await;
    let parts = connection.into_parts();
    let late = end.is_err_and(|error| error.is_timeout());
    Closing {
        stream: parts.io.into_inner(),
        // A connection that was idle did not ask anything.
        answer: (late && !parts.read_buf.is_empty()).then(|| late_head(server)),
    }
}

/// Comes back when the connection is to take no further request.
async fn leave(mut orders: watch::Receiver<Orders>, busy: &AtomicBool) {
    // A connection that comes later was not meant.
    let mut seen = orders.borrow_and_update().make_room;
    loop {
        let now = *orders.borrow_and_update();
        if now.draining {
            return tokio::time::sleep(GRACE).await;
        }
        if now.make_room != seen && !busy.load(Ordering::Relaxed) {
            return;
        }
        seen = now.make_room;
        if orders.changed().await.is_err() {
            return;
        }
    }
}

fn late_head(server: &Server) -> Vec<u8> {
    let limit = server.limits.header_timeout;
    let message = format!("the request's head took longer than {limit:?}");
    raw(&Problem::new(Kind::Timeout, message))
}

/// An answer written without hyper: its request was not read.
fn raw(problem: &Problem) -> Vec<u8> {
    let status = problem.status(Api::OpenAi);
    let body = problem.body(Api::OpenAi).to_string();
    let reason = status.canonical_reason().unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        body.len()
    )
    .into_bytes()
}

/// A connection on which nothing more is served.
pub(super) struct Closing {
    stream: Stream,
    answer: Option<Vec<u8>>,
}

impl Closing {
    /// A connection beyond the limit.
    pub(super) fn refused(stream: TcpStream) -> Self {
        let message = "too many connections are open";
        Self {
            stream: Box::pin(TimeoutStream::new(stream)),
            answer: Some(raw(&Problem::new(Kind::Unavailable, message))),
        }
    }

    /// Closes so that the peer can read the last answer: with bytes of a request unread, the
    /// system resets the connection and the answer may be lost. Reading them away takes one of
    /// `places`; without one the answer is sent all the same.
    pub(super) async fn finish(self, places: &Semaphore) {
        let Self { stream, answer } = self;
        let closed = close(stream, answer.unwrap_or_default(), places);
        // Whoever has not read it by then does not.
        let _ = tokio::time::timeout(LINGER, closed).await;
    }
}

async fn close(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Vec<u8>,
    places: &Semaphore,
) -> io::Result<()> {
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let Ok(_place) = places.try_acquire() else {
        return Ok(());
    };
    let mut unread = vec![0; 16 << 10];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
