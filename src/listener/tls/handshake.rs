//! One handshake: bounded in time, in number and in what it takes of a worker.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{
    AlertDescription, Error, HandshakeKind, PeerIncompatible, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use tokio::net::TcpStream;

use super::stream::TlsStream;
use super::turns::Turns;
use crate::io::poll_read;
use crate::telemetry::tls::{Failure, Handshake};

/// What a socket's first bytes led to.
pub(super) enum Start {
    /// A session.
    Session(Box<TlsStream>),
    /// Not a session.
    Failed(Failure),
    /// The caller speaks HTTP in the clear.
    Plain(TcpStream),
}

/// Shakes hands with a caller.
pub(super) async fn shake(
    mut socket: TcpStream,
    config: Arc<ServerConfig>,
    turns: &Turns,
    limit: usize,
) -> Start {
    // A caller who says nothing takes no place and no memory.
    let mut first = BytesMut::new();
    let come = async {
        socket.readable().await?;
        poll_fn(|cx| poll_read(&mut socket, &mut first, 0, cx)).await
    };
    if !come.await.is_ok_and(|count| count > 0) {
        return Start::Failed(Failure::Gone);
    }
    if is_plain_http(&first) {
        return Start::Plain(socket);
    }
    let Some(_place) = turns.place(limit).await else { return Start::Failed(Failure::Other) };
    let session = match ServerConnection::new(config) {
        Ok(session) => session,
        Err(error) => {
            tracing::error!(%error, "no TLS session can be made");
            return Start::Failed(Failure::Other);
        }
    };
    let mut stream = Box::new(TlsStream::new(socket, first, session));
    match agree(&mut stream, turns).await {
        Ok(()) => Start::Session(stream),
        Err(failure) => Start::Failed(failure),
    }
}

/// Exchanges messages until both sides have keys.
async fn agree(stream: &mut TlsStream, turns: &Turns) -> Result<(), Failure> {
    let gone = |_: io::Error| Failure::Gone;
    while stream.session().is_handshaking() {
        if stream.is_drained() && poll_fn(|cx| stream.poll_fill(cx)).await.map_err(gone)? == 0 {
            return Err(Failure::Gone);
        }
        let result = turns
            .take(|| {
                let result = stream.process();
                // Sent before the turn ends: the caller works while others compute.
                if result.is_err() || !ends_with_tickets(stream.session()) {
                    stream.send_at_once();
                }
                result
            })
            .await;
        if let Err(error) = result {
            tracing::debug!(%error, "TLS handshake failed");
            return Err(failure(&error));
        }
        if !ends_with_tickets(stream.session()) {
            poll_fn(|cx| stream.poll_send(cx)).await.map_err(gone)?;
        }
    }
    Ok(())
}

/// In TLS 1.3 all that is left to send at the end are tickets: they leave with the first answer,
/// in the same system call and mostly in the same packet.
fn ends_with_tickets(session: &ServerConnection) -> bool {
    !session.is_handshaking() && session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

/// A TLS record begins with its type, 20 to 24; an HTTP request with a method.
fn is_plain_http(first: &[u8]) -> bool {
    first.first().is_some_and(u8::is_ascii_uppercase)
}

/// How a handshake that succeeded is counted.
pub(super) fn done(session: &ServerConnection) -> Handshake {
    Handshake::Done {
        tls13: session.protocol_version() == Some(ProtocolVersion::TLSv1_3),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => Failure::Version,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Failure::NothingInCommon,
        Error::NoCertificatesPresented => Failure::NoCertificate,
        Error::InvalidCertificate(_) => Failure::BadCertificate,
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
            Failure::Gone
        }
        Error::AlertReceived(_) => Failure::Alert,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Failure::Malformed,
        // Marked as open to additions; what else there is is a fault of ours.
        _ => Failure::Other,
    }
}
