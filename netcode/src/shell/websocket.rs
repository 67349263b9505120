//! Packets as binary messages of a WebSocket in TLS.
//!
//! TLS is there for what lies between: a box that lets nothing through but the web. It guards nothing by itself, for
//! the packets are sealed for the node that has the battle's keys, whoever carries them. So a client takes any
//! certificate, and a node needs one that its own clients accept: browsers look at it closer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::carry::{Carrier, FromStream, Outgoing, PACKETS_WAITING_MAX, STALLED, StreamEnd};
use super::metered::{Meter, Metered};
use crate::limits::UDP_PAYLOAD_MAX;

/// First byte of a TLS record that begins a handshake; no stream of packets begins with it, for HELLO's length does not.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes that are read and written at once.
const BUFFER: usize = 4 * 1024;

/// What a node shows in TLS: a chain of certificates and the key of the first.
#[derive(Clone)]
pub struct Certificate(Arc<ServerConfig>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The chain is no list of certificates in PEM.
    #[error("no certificates in PEM")]
    Chain,
    /// The key is no private key in PEM.
    #[error("no private key in PEM")]
    Key,
    /// They do not go together, or are of a kind that is not known here.
    #[error("certificate and key: {0}")]
    Refused(#[from] rustls::Error),
}

impl Certificate {
    /// Reads a chain, the own certificate first, and the private key, both in PEM.
    ///
    /// # Errors
    /// When they are not that, or do not go together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self(Arc::new(config)))
    }

    /// What TLS is set up by.
    #[cfg(feature = "quic")]
    pub(super) fn config(&self) -> ServerConfig {
        ServerConfig::clone(&self.0)
    }

    /// Takes a WebSocket in TLS from somebody who has begun one.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> io::Result<WebSocketStream<Metered<server::TlsStream<TcpStream>>>> {
        let tls = TlsAcceptor::from(Arc::clone(&self.0)).accept(tcp).await?;
        accept_async_with_config(Metered::new(tls), Some(config())).await.map_err(io::Error::other)
    }
}

/// Begins a WebSocket in TLS on a connection that stands.
pub(super) async fn connect(
    address: SocketAddr,
    tcp: TcpStream,
) -> io::Result<WebSocketStream<Metered<client::TlsStream<TcpStream>>>> {
    let tls = trusting(rustls::DEFAULT_VERSIONS)?;
    let name = ServerName::IpAddress(address.ip().into());
    let tls = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
    let (socket, _) =
        client_async_with_config(format!("wss://{address}/"), Metered::new(tls), Some(config()))
            .await
            .map_err(io::Error::other)?;
    Ok(socket)
}

/// TLS of a client that takes any certificate.
pub(super) fn trusting(versions: &[&'static SupportedProtocolVersion]) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Takes any certificate; see the top of this file for why that is enough.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(PACKETS_WAITING_MAX * UDP_PAYLOAD_MAX)
        .max_message_size(Some(UDP_PAYLOAD_MAX))
        .max_frame_size(Some(UDP_PAYLOAD_MAX))
}

impl Carrier {
    /// Carries packets over a WebSocket until either side is done, and tells the shell.
    pub(super) async fn carry_websocket<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        socket: WebSocketStream<Metered<S>>,
    ) {
        let end = {
            let meter = socket.get_ref().meter();
            let (to_peer, from_peer) = socket.split();
            let inwards = read_messages(from_peer, &meter, self.stream, &self.to_shell);
            let outwards = write_messages(to_peer, &mut self.outgoing);
            tokio::select! {
                end = inwards => end,
                end = outwards => end,
            }
        };
        self.tell_end(end).await;
    }
}

async fn read_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut from_peer: SplitStream<WebSocketStream<S>>,
    meter: &Meter,
    stream: u64,
    to_shell: &mpsc::Sender<FromStream>,
) -> StreamEnd {
    while let Some(message) = from_peer.next().await {
        match message {
            Ok(Message::Binary(bytes)) if !bytes.is_empty() => {
                meter.reset();
                let bytes = bytes.to_vec();
                if to_shell.send(FromStream::Packet { stream, bytes }).await.is_err() {
                    return StreamEnd::Closed;
                }
            }
            // Answered below us, with the next packet at the latest.
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) => return StreamEnd::Closed,
            Ok(Message::Binary(_) | Message::Text(_) | Message::Frame(_)) => return StreamEnd::Malformed,
            Err(_) if meter.is_exceeded() => return StreamEnd::Malformed,
            Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => return StreamEnd::Closed,
            Err(_) => return StreamEnd::Malformed,
        }
    }
    StreamEnd::Closed
}

async fn write_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut to_peer: SplitSink<WebSocketStream<S>, Message>,
    outgoing: &mut Outgoing,
) -> StreamEnd {
    let mut batch = Vec::with_capacity(PACKETS_WAITING_MAX);
    while outgoing.next(&mut batch).await {
        let writing = async {
            for packet in batch.drain(..) {
                to_peer.feed(Message::Binary(packet.into())).await?;
            }
            to_peer.flush().await
        };
        match timeout(STALLED, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return StreamEnd::Closed,
            Err(_) => return StreamEnd::Stalled,
        }
    }
    // The shell has let go of it: all is said, and whether the peer hears of it does not matter.
    let _ = timeout(STALLED, to_peer.close()).await;
    StreamEnd::Closed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::super::acceptor::StreamOffer;
    use super::super::streams::Streams;
    use super::*;

    /// What the shell hears of one WebSocket: whether it opened, its packets, its end.
    async fn heard(streams: &mut Streams) -> (bool, Vec<Vec<u8>>, StreamEnd) {
        let (mut opened, mut packets) = (None, Vec::new());
        let hearing = async {
            loop {
                streams.ready().await;
                let mut told = streams.take();
                for told in told.drain(..) {
                    match told {
                        // Who lets go of the outlet ends the stream.
                        FromStream::Opened { outlet, .. } => opened = Some(outlet),
                        FromStream::Packet { bytes, .. } => packets.push(bytes),
                        FromStream::Lost { end, .. } => return end,
                    }
                }
                streams.recycle(told);
            }
        };
        let end = timeout(Duration::from_secs(30), hearing).await.expect("it ends");
        (opened.is_some(), packets, end)
    }

    async fn listening() -> (Streams, SocketAddr) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (streams, address) = (Streams::new(), listener.local_addr().unwrap());
        let offer = StreamOffer { tcp: false, websocket: Some(certificate) };
        tokio::spawn(streams.door().serve(listener, offer));
        (streams, address)
    }

    #[tokio::test]
    async fn real_socket_websockets_that_carry_no_packets_are_closed() {
        let (mut streams, address) = listening().await;
        let whole = vec![5; UDP_PAYLOAD_MAX];
        let malformed = [
            Message::Binary(vec![6; UDP_PAYLOAD_MAX + 1].into()),
            Message::Binary(Vec::new().into()),
            Message::Text("hello".into()),
        ];
        for last in malformed {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut socket = connect(address, tcp).await.unwrap();
            socket.send(Message::Binary(whole.clone().into())).await.unwrap();
            socket.send(last.clone()).await.unwrap();
            let expected = (true, vec![whole.clone()], StreamEnd::Malformed);
            assert_eq!(heard(&mut streams).await, expected, "{last:?}");
        }
        let tcp = TcpStream::connect(address).await.unwrap();
        connect(address, tcp).await.unwrap().close(None).await.unwrap();
        assert_eq!(heard(&mut streams).await, (true, Vec::new(), StreamEnd::Closed));
    }

    #[tokio::test]
    async fn real_socket_websockets_that_send_parts_or_pings_without_end_are_closed() {
        let (mut streams, address) = listening().await;
        let part = |code| Message::Frame(Frame::message(Vec::new(), OpCode::Data(code), false));
        let begun = |code: Data| vec![part(code), part(Data::Continue)];
        for (first, then) in
            [(begun(Data::Binary), part(Data::Continue)), (vec![], Message::Ping(Vec::new().into()))]
        {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut socket = connect(address, tcp).await.unwrap();
            let flood = async {
                for message in first {
                    if socket.feed(message).await.is_err() {
                        return;
                    }
                }
                while socket.feed(then.clone()).await.is_ok() {}
            };
            // Whoever floods notices in his own time that he writes to nobody.
            let ((opened, packets, end), _) =
                tokio::join!(heard(&mut streams), timeout(Duration::from_secs(60), flood));
            assert_eq!((opened, packets, end), (true, Vec::new(), StreamEnd::Malformed), "{then:?}");
        }
    }

    #[tokio::test]
    async fn real_socket_streams_that_are_not_offered_or_begin_no_tls_cost_the_shell_nothing() {
        let (mut streams, address) = listening().await;
        let beginnings: [&[u8]; 4] =
            [&[128, 0, 1], &[TLS_HANDSHAKE, 3, 1, 0, 9, 9, 9], b"GET / HTTP/1.1\r\n\r\n", &[0]];
        for beginning in beginnings {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(beginning).await.unwrap();
            tcp.shutdown().await.unwrap();
            let mut said = Vec::new();
            let reading = tcp.read_to_end(&mut said);
            // Closed or broken off: either is an end.
            assert!(timeout(Duration::from_secs(30), reading).await.is_ok());
        }
        assert!(streams.take().is_empty());
    }
}
