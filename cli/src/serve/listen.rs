//! Accepts connections, within their limit, until it is told to drain.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::{self, Closing};
use super::server::Server;

/// Connections that are being closed; beyond them one is closed without ceremony.
pub(super) const CLOSING: usize = 256;
/// The pause after a failure to accept: most often there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

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
            tokio::spawn(finish(Closing::refused(stream), closing));
            return;
        };
        let (app, server) = (self.app.clone(), Arc::clone(&self.server));
        tokio::spawn(async move {
            let rest = connection::serve(stream, app, &server).await;
            drop(slot);
            finish(rest, closing).await;
        });
    }
}

async fn finish(rest: Closing, closing: Arc<Semaphore>) {
    if let Ok(_place) = closing.try_acquire() {
        rest.finish().await;
    }
}
