//! The servers behind the gateway: connections to them, and what they answer.
//!
//! | file | holds |
//! |---|---|
//! | `decode` | bytes into the head and the body of an answer; reads nothing |
//! | `connection` | one connection: connect, send a request, read |
//! | `pool` | the connections to each instance |
//! | `incoming` | the body of an answer, while it arrives |
//! | `tls` | TLS to servers that ask for it |

mod connection;
mod decode;
mod incoming;
mod pool;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::{Failure, Request};
pub use decode::Head;
pub use incoming::Incoming;
pub use pool::{Line, Pools};

use std::sync::Arc;

use super::naming::ForwardBody;
use super::routes::Backend;
use pool::{PATIENCE, Pool};

/// An answer that has begun.
pub struct Exchange {
    pub head: Head,
    pub line: Line,
}

impl Pools {
    /// Sends a request to an instance, and returns the beginning of its answer. A
    /// request that fails on a connection which was idle is sent again on a new one,
    /// as long as `body` can be.
    ///
    /// # Errors
    /// The instance gave no answer on a new connection.
    pub async fn send(&self, backend: &Backend, request: Request<'_>, body: &ForwardBody) -> Result<Exchange, Failure> {
        let pool = self.of(&backend.instance);
        if let Some(line) = pool.take() {
            match exchange(line, request, body).await {
                Err(Failure::Gone(_)) if body.is_replayable() => {}
                end => return end,
            }
        }
        // Boxed: few requests need it, and every request would carry the room for it.
        Box::pin(exchange_anew(&pool, backend, request, body)).await
    }
}

/// Sends a request on a new connection.
async fn exchange_anew(
    pool: &Arc<Pool>,
    backend: &Backend,
    request: Request<'_>,
    body: &ForwardBody,
) -> Result<Exchange, Failure> {
    let line = pool.add(connection::Connection::open(&backend.address).await?);
    let mut exchange = std::pin::pin!(exchange(line, request, body));
    if let Ok(end) = tokio::time::timeout(PATIENCE, &mut exchange).await {
        return end;
    }
    let _pressing = pool.press();
    exchange.await
}

async fn exchange(mut line: Line, request: Request<'_>, body: &ForwardBody) -> Result<Exchange, Failure> {
    let Some(connection) = line.connection() else {
        return Err(Failure::Gone(std::io::ErrorKind::NotConnected.into()));
    };
    let (mut head, is_sent) = connection.exchange(request, body.attempt()).await?;
    head.keeps &= is_sent;
    Ok(Exchange { head, line })
}
