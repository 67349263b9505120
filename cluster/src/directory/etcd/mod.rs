//! The directory in etcd, behind the feature `etcd`.
//!
//! Works with etcd 3.4 and newer. Of the members it is given it speaks to one, and goes on to the next when that
//! one leaves a call unanswered, also when the caller gave up waiting; the connection is then made anew. A balancer
//! over all members would hand a part of the calls to a member that hangs for as long as it hangs.

mod calls;
mod watch;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use tonic::transport::Uri;

use super::{DirectoryError, Revision};

/// How long a call may take before it counts as unanswered. Callers that cannot wait so long give up earlier.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting to a member may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A link that says nothing for so long is asked for a sign of life, and is given up when none comes for as long
/// again. Without it calls over a link that swallows packets fail for good.
const LINK_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Where etcd is and how to come in.
#[derive(Clone, Default)]
pub struct EtcdConfig {
    /// The members, `http://` or `https://` with host and port.
    pub urls: Vec<String>,
    /// Name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// Certificates, for members at `https://`.
    pub tls: Option<EtcdTls>,
}

/// Certificates, in PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// Who must have signed the members' certificates.
    pub authority: Vec<u8>,
    /// Our own certificate and its key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdConfigError {
    /// No member is named.
    #[error("no address is given")]
    NoUrl,
    /// An address is not `http://` or `https://` with a host.
    #[error("{url} is no address like http://127.0.0.1:2379")]
    Url {
        /// The address.
        url: String,
    },
    /// An `https://` address needs to know whom to trust, and `http://` knows no certificates.
    #[error("{url}: https:// needs certificates, and http:// takes none")]
    Tls {
        /// The address.
        url: String,
    },
}

/// A directory in etcd. Connects when it is first used, and anew whenever that is needed.
pub struct EtcdDirectory {
    config: EtcdConfig,
    members: Arc<Members>,
    /// The last refusal that was logged, so that each is told once.
    refusal: Mutex<String>,
}

struct Members {
    members: Vec<Member>,
    /// The member that is spoken to, as an index.
    current: AtomicUsize,
    /// Connections made so far.
    connections: AtomicU64,
}

struct Member {
    url: String,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    client: Client,
    serial: u64,
}

impl EtcdDirectory {
    /// A directory that has not connected yet.
    ///
    /// # Errors
    /// The configuration cannot be right. Whether etcd is there and lets us in is told by the first call.
    pub fn new(config: EtcdConfig) -> Result<Self, EtcdConfigError> {
        config.check()?;
        let member = |url: &String| Member { url: url.clone(), connection: tokio::sync::Mutex::new(None) };
        let members = Arc::new(Members {
            members: config.urls.iter().map(member).collect(),
            current: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
        });
        Ok(Self { config, members, refusal: Mutex::new(String::new()) })
    }

    /// Makes a call to the current member. An error that comes from the way to etcd, or from a member that is
    /// cut off from the others, moves on to the next.
    async fn call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        Ok(self.call_over_link(call).await?.0)
    }

    /// Does what `call` does, and says over what the answer came.
    async fn call_over_link<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<(T, Link), Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let member = self.members.current.load(Ordering::Relaxed);
        let mut attempt =
            Attempt { link: Some(Link { members: Arc::clone(&self.members), member, serial: None }) };
        let answer = tokio::time::timeout(CALL_TIMEOUT, async {
            let connection = self.connection(member).await?;
            attempt.connected(connection.serial);
            call(connection.client).await
        });
        match answer.await {
            Ok(Ok(value)) => Ok((value, attempt.answered())),
            Ok(Err(error)) => {
                let failure = Failure::of(&error);
                match &failure {
                    Failure::Unanswered => {}
                    Failure::Refused(reason) => self.tell(reason),
                    Failure::NotFound | Failure::OutOfRange | Failure::LeaseGone => drop(attempt.answered()),
                }
                Err(failure)
            }
            Err(_) => Err(Failure::Unanswered),
        }
    }

    async fn connection(&self, member: usize) -> Result<Connection, Error> {
        let member = self.members.members.get(member).expect("the index wraps");
        let mut connection = member.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let client = Client::connect([&member.url], Some(self.config.options())).await?;
        let made = Connection { client, serial: self.members.connections.fetch_add(1, Ordering::Relaxed) };
        *connection = Some(made.clone());
        Ok(made)
    }

    /// Logs why etcd refuses what we ask, once for each reason: waiting does not heal it.
    fn tell(&self, reason: &str) {
        let mut told = self.refusal.lock().expect("nobody panics while holding it");
        if *told != reason {
            tracing::warn!(%reason, "etcd refuses a call");
            reason.clone_into(&mut told);
        }
    }
}

impl EtcdConfig {
    fn check(&self) -> Result<(), EtcdConfigError> {
        if self.urls.is_empty() {
            return Err(EtcdConfigError::NoUrl);
        }
        for url in &self.urls {
            let no_url = || EtcdConfigError::Url { url: url.clone() };
            let parsed: Uri = url.parse().map_err(|_| no_url())?;
            // A password in the address would stand in every log.
            if parsed.authority().is_none_or(|authority| authority.as_str().contains('@')) {
                return Err(no_url());
            }
            match (parsed.scheme_str(), &self.tls) {
                (Some("https"), Some(_)) | (Some("http"), None) => {}
                (Some("https"), None) | (Some("http"), Some(_)) => {
                    return Err(EtcdConfigError::Tls { url: url.clone() });
                }
                _ => return Err(no_url()),
            }
        }
        Ok(())
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(LINK_KEEP_ALIVE, LINK_KEEP_ALIVE)
            // etcd closes links that ask for signs of life with nothing under way.
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        if let Some(tls) = &self.tls {
            let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                with = with.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(with);
        }
        options
    }
}

/// What a call goes over: a member, and the connection to it once there is one.
struct Link {
    members: Arc<Members>,
    member: usize,
    serial: Option<u64>,
}

impl Link {
    /// Goes on to the next member, and forgets the connection unless it was forgotten before.
    fn leave(&self) {
        let Members { members, current, .. } = &*self.members;
        let next = (self.member + 1) % members.len();
        // Somebody else may have left it already.
        let _ = current.compare_exchange(self.member, next, Ordering::Relaxed, Ordering::Relaxed);
        // Where the lock is held, somebody is connecting anew.
        if let Some(member) = members.get(self.member)
            && let Ok(mut connection) = member.connection.try_lock()
            && connection.as_ref().is_some_and(|connection| Some(connection.serial) == self.serial)
        {
            *connection = None;
        }
    }
}

/// A call under way. Unless it is answered its link is left; so too when the caller's patience ends and the call is
/// dropped.
struct Attempt {
    link: Option<Link>,
}

impl Attempt {
    fn connected(&mut self, serial: u64) {
        if let Some(link) = &mut self.link {
            link.serial = Some(serial);
        }
    }

    fn answered(mut self) -> Link {
        self.link.take().expect("an attempt is answered once")
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.leave();
        }
    }
}

/// What came back instead of an answer.
enum Failure {
    /// Nothing, or that the member cannot say: another may, or the same later.
    Unanswered,
    /// The lease or user does not exist.
    NotFound,
    /// The revision is compacted or still to come.
    OutOfRange,
    /// A keep-alive found no lease.
    LeaseGone,
    /// It will not be done, and why.
    Refused(String),
}

impl Failure {
    fn of(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => match status.code() {
                tonic::Code::NotFound => Self::NotFound,
                tonic::Code::OutOfRange => Self::OutOfRange,
                tonic::Code::Unavailable
                | tonic::Code::DeadlineExceeded
                | tonic::Code::Cancelled
                | tonic::Code::Aborted
                | tonic::Code::Unknown
                | tonic::Code::Internal => Self::Unanswered,
                code => Self::Refused(format!("{code}: {}", status.message())),
            },
            Error::LeaseKeepAliveError(_) => Self::LeaseGone,
            Error::InvalidArgs(reason) => Self::Refused(reason.clone()),
            Error::TransportError(error) => Self::Refused(format!("{error}: {}", source_of(error))),
            _ => Self::Unanswered,
        }
    }
}

/// What stands behind an error of the transport, such as a certificate that does not fit.
fn source_of(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

impl From<Failure> for DirectoryError {
    /// For calls that know nothing better: what is refused may be allowed later.
    fn from(_: Failure) -> Self {
        Self::Unavailable
    }
}

/// etcd's numbers are signed; its revisions are never negative.
fn revision(of: i64) -> Revision {
    Revision(u64::try_from(of).unwrap_or(0))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
