//! Accepts connections, within limits, and serves HTTP/1.1 on them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::GateLimits;
use crate::counters::DoorCounters;
use crate::shares::Origin;

/// Most bytes of a request's line and headers together.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 64;
/// Pause after an accept that did not work (usually: no file descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Open connections, by address.
struct Open {
    by_address: Mutex<HashMap<Origin, usize>>,
    limits: GateLimits,
}

/// One connection's place among the open ones; given back when the last holder drops it.
pub(crate) struct Permit {
    open: Arc<Open>,
    peer: SocketAddr,
    upgraded: AtomicBool,
}

enum Refusal {
    Full,
    Address,
}

impl Open {
    fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Permit, Refusal> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if by_address.values().sum::<usize>() >= self.limits.connections_max {
            return Err(Refusal::Full);
        }
        let origin = Origin::of(peer.ip());
        let count = by_address.entry(origin).or_insert(0);
        if *count >= self.limits.connections_per_address_max && self.limits.hold_for(origin) {
            return Err(Refusal::Address);
        }
        *count += 1;
        Ok(Permit { open: Arc::clone(self), peer, upgraded: AtomicBool::new(false) })
    }
}

impl Permit {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut by_address = self.open.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = Origin::of(self.peer.ip());
        if let Some(count) = by_address.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&origin);
            }
        }
    }
}

/// Serves until told to stop; then takes no more connections and lets go of those that are no WebSocket yet.
pub(crate) async fn serve(
    listener: Listener,
    routes: Router,
    limits: GateLimits,
    counters: Arc<DoorCounters>,
    mut stop: watch::Receiver<bool>,
) {
    let open = Arc::new(Open { by_address: Mutex::default(), limits });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.socket.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        match open.admit(peer) {
            Ok(permit) => {
                counters.gate_connections.one();
                connections.spawn(serve_connection(
                    stream,
                    permit,
                    routes.clone(),
                    limits,
                    Arc::clone(&counters),
                ));
            }
            Err(Refusal::Full) => counters.gate_refused_full.one(),
            Err(Refusal::Address) => counters.gate_refused_address.one(),
        }
    }
}

/// One request, or the upgrade to a WebSocket, whose task then lives on its own.
async fn serve_connection(
    stream: TcpStream,
    permit: Permit,
    routes: Router,
    limits: GateLimits,
    counters: Arc<DoorCounters>,
) {
    // Frames are small and wait for an answer. Where that cannot be set they come a little later.
    let _ = stream.set_nodelay(true);
    let permit = Arc::new(permit);
    let routes = TowerToHyperService::new(routes);
    let for_requests = Arc::clone(&permit);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&for_requests));
        let answer = routes.call(request);
        async move {
            let mut answer = answer.await?;
            // One request a connection. Turning keep-alive off as a whole would say "close" in upgrades too.
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if !matches!(timeout(limits.handshake_timeout, connection).await, Ok(Ok(()))) {
        counters.gate_refused_handshake.one();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use super::{Open, Refusal};
    use crate::config::GateLimits;

    #[test]
    fn connections_are_limited_in_all_and_by_address_and_given_back() {
        let limits =
            GateLimits { connections_max: 3, connections_per_address_max: 2, ..GateLimits::default() };
        let open = Arc::new(Open { by_address: Mutex::new(HashMap::new()), limits });
        let admit = |address: &str| open.admit(address.parse().unwrap());
        let first = admit("10.0.0.1:1").ok().unwrap();
        let _second = admit("[::ffff:10.0.0.1]:2").ok().unwrap();
        assert!(matches!(admit("10.0.0.1:3"), Err(Refusal::Address)));
        let _third = admit("[2001:db8::1]:1").ok().unwrap();
        assert!(matches!(admit("10.0.0.2:1"), Err(Refusal::Full)));
        drop(first);
        let _fourth = admit("[2001:db8::ffff:1]:1").ok().unwrap();
        assert!(matches!(admit("[2001:db8::2]:1"), Err(Refusal::Full)));
        drop(_second);
        assert!(matches!(admit("[2001:db8::2]:1"), Err(Refusal::Address)), "one IPv6 network is one address");
        assert!(admit("10.0.0.1:4").is_ok());
    }
}
