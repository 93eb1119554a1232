//! Accepts connections, within their limit, until it is told to drain.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;

use super::connection::{self, Closing};
use super::server::Server;

/// Connections whose peer is still sending while they close.
pub(super) const CLOSING: usize = 256;
/// Connections that wait to be accepted: a burst beyond it would wait a second to try again.
const BACKLOG: u32 = 4096;
/// The pause after a failure to accept: most often there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens at the first address of `host` that can be had.
pub(super) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match listening(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait until the system has forgotten the last run's connections.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop` ends, and then those that have already arrived.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    server: Arc<Server>,
    stop: impl Future<Output = ()>,
) {
    let mut door = Door {
        app,
        server,
        closing: Arc::new(Semaphore::new(CLOSING)),
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => door.admit(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    while let Some(stream) = poll_fn(|context| match listener.poll_accept(context) {
        Poll::Ready(Ok((stream, _))) => Poll::Ready(Some(stream)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        door.admit(stream);
    }
}

struct Door {
    app: Router,
    server: Arc<Server>,
    closing: Arc<Semaphore>,
}

impl Door {
    /// Serves the connection in a task of its own, or refuses it.
    fn admit(&mut self, stream: TcpStream) {
        let closing = Arc::clone(&self.closing);
        let Ok(slot) = Arc::clone(&self.server.connections).try_acquire_owned() else {
            self.server.metrics.refused_connection();
            self.server
                .orders
                .send_modify(|orders| orders.make_room += 1);
            tokio::spawn(async move { Closing::refused(stream).finish(&closing).await });
            return;
        };
        let (app, server) = (self.app.clone(), Arc::clone(&self.server));
        tokio::spawn(async move {
            let rest = connection::serve(stream, app, &server).await;
            drop(slot);
            rest.finish(&closing).await;
        });
    }
}
