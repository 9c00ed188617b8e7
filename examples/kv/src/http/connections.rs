//! Clients' connections: how many, and how long they may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use slog::{Logger, debug, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections may be open; more wait until one of them ends.
const CONNECTIONS: usize = 4096;
/// How long a request's head may take. The body has until the request's deadline.
const HEAD: Duration = Duration::from_secs(15);

/// Serves until told to stop, then lets the requests that are under way come to an end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    log: Logger,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let under_way = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, most likely: others may close.
                    warn!(log, "can't accept a client"; "reason" => %error);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = under_way.watch(builder.serve_connection(TokioIo::new(stream), service));
        let log = log.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(log, "a client's connection broke"; "reason" => %error);
            }
            drop(place);
        });
    }
    drop(listener);
    under_way.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // It only costs time where it fails.
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}
