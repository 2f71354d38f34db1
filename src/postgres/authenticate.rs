//! Who we are: the exchange between the startup packet and AuthenticationOk.
//!
//! SCRAM is a proof in both directions, and over TLS it is tied to the server's certificate where the server
//! offers that ([`super::binding`]). A server that asks for less than `require_auth` or `channel_binding` allow gets
//! no answer.
//!
//! Source: PostgreSQL documentation, "Start-up" and "SASL Authentication" of "Message Flow".

use std::sync::Once;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Binding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret as _, SecretString};

use super::binding::server_end_point;
use super::wire::Fields;
use super::{Connection, Error};
use crate::config::{AuthMethod, ChannelBinding, PostgresUrl};
use crate::net::Transport;

/// What we log in with.
#[derive(Debug)]
pub(super) struct Login<'a> {
    pub(super) url: &'a PostgresUrl,
    pub(super) password: Option<SecretString>,
    /// Why there is no password, where there is more to say.
    pub(super) remark: Option<String>,
}

/// SCRAM, from our first message to the server's proof.
struct Exchange {
    scram: ScramSha256,
    bound: bool,
    proven: bool,
}

impl Connection {
    pub(super) async fn authenticate(&mut self, login: &Login<'_>) -> Result<(), Error> {
        let url = login.url;
        let mut exchange: Option<Exchange> = None;
        // A password went out in a form that proves nothing to us.
        let mut asked = None;
        loop {
            let frame = self.next().await.map_err(|error| self.before_login(error, url))?;
            if frame.kind == b'E' {
                return Err(self.refused(url, &frame));
            }
            if frame.kind != b'R' {
                self.consume(&frame);
                continue;
            }
            let body = self.body(&frame).to_vec();
            self.consume(&frame);
            let method = Fields::new(&body).u32().unwrap_or(u32::MAX);
            let rest = body.get(4..).unwrap_or_default();
            let mut answer = BytesMut::new();
            match method {
                0 => return self.check_accepted(url, exchange.as_ref(), asked),
                3 => {
                    self.check_allowed(url, AuthMethod::Password)?;
                    self.warn_of_cleartext();
                    let password = self.password(login)?.expose_secret().as_bytes();
                    frontend::password_message(password, &mut answer).map_err(|e| self.io_error(e))?;
                    asked = Some(AuthMethod::Password);
                }
                5 => {
                    self.check_allowed(url, AuthMethod::Md5)?;
                    let salt = *rest
                        .first_chunk::<4>()
                        .ok_or_else(|| self.protocol_error("an MD5 salt is too short"))?;
                    let password = self.password(login)?.expose_secret().as_bytes();
                    let hash = md5_hash(url.user.as_bytes(), password, salt);
                    frontend::password_message(hash.as_bytes(), &mut answer).map_err(|e| self.io_error(e))?;
                    asked = Some(AuthMethod::Md5);
                }
                10 => {
                    self.check_allowed(url, AuthMethod::ScramSha256)?;
                    let (binding, mechanism) = self.binding(url, rest)?;
                    let password = self.password(login)?.expose_secret().as_bytes();
                    let scram = ScramSha256::new(password, binding);
                    frontend::sasl_initial_response(mechanism, scram.message(), &mut answer)
                        .map_err(|e| self.io_error(e))?;
                    let bound = mechanism == SCRAM_SHA_256_PLUS;
                    exchange = Some(Exchange { scram, bound, proven: false });
                }
                11 => {
                    let scram = &mut self.under_way(&mut exchange)?.scram;
                    scram.update(rest).map_err(|e| self.protocol_error(format!("SCRAM: {e}")))?;
                    frontend::sasl_response(scram.message(), &mut answer).map_err(|e| self.io_error(e))?;
                }
                12 => {
                    let exchange = self.under_way(&mut exchange)?;
                    exchange.scram.finish(rest).map_err(|e| {
                        self.protocol_error(format!("SCRAM: the server does not know the password: {e}"))
                    })?;
                    exchange.proven = true;
                    continue;
                }
                other => {
                    return Err(self.protocol_error(format!(
                        "authentication method {other} is not supported; scram-sha-256, md5, password, \
                         trust and client certificates are: change the line in pg_hba.conf"
                    )));
                }
            }
            self.send(&answer).await?;
        }
    }

    fn under_way<'e>(&self, exchange: &'e mut Option<Exchange>) -> Result<&'e mut Exchange, Error> {
        exchange.as_mut().ok_or_else(|| self.protocol_error("SASL out of order"))
    }

    fn password<'l>(&self, login: &'l Login<'_>) -> Result<&'l SecretString, Error> {
        login.password.as_ref().ok_or_else(|| {
            let remark = login.remark.as_ref().map_or(String::new(), |remark| format!(" ({remark})"));
            Error::Setting(format!(
                "PostgreSQL at {} asks for a password for the role {}: set source.password, \
                 source.password_file or PGPASSWORD, or write it into ~/.pgpass{remark}",
                self.address(),
                login.url.user
            ))
        })
    }

    /// How SCRAM is tied to the connection, and what it is called then.
    fn binding(&self, url: &PostgresUrl, offered: &[u8]) -> Result<(Binding, &'static str), Error> {
        let offers = |mechanism: &str| offered.split(|&b| b == 0).any(|name| name == mechanism.as_bytes());
        let certificate = match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()),
        };
        let hash = certificate.and_then(|certificate| server_end_point(certificate));
        match (url.channel_binding, hash) {
            (ChannelBinding::Prefer | ChannelBinding::Require, Some(hash)) if offers(SCRAM_SHA_256_PLUS) => {
                Ok((Binding::tls_server_end_point(hash), SCRAM_SHA_256_PLUS))
            }
            (ChannelBinding::Require, _) => Err(Error::Setting(format!(
                "channel_binding=require: PostgreSQL at {} does not offer SCRAM-SHA-256-PLUS over TLS with a \
                 certificate that can be bound to; set ssl = on there and sslmode=verify-full here, or \
                 channel_binding=prefer",
                self.address()
            ))),
            _ if !offers(SCRAM_SHA_256) => {
                Err(self.protocol_error("no SASL mechanism that we know is offered"))
            }
            // Had it offered binding, we would have taken it: somebody who took the offer away is found out.
            (ChannelBinding::Prefer, Some(_)) => Ok((Binding::unrequested(), SCRAM_SHA_256)),
            _ => Ok((Binding::unsupported(), SCRAM_SHA_256)),
        }
    }

    fn check_allowed(&self, url: &PostgresUrl, method: AuthMethod) -> Result<(), Error> {
        if url.channel_binding == ChannelBinding::Require && method != AuthMethod::ScramSha256 {
            return Err(Error::Setting(format!(
                "channel_binding=require: PostgreSQL at {} asks for the password without scram-sha-256, to which \
                 alone binding belongs: change the line in pg_hba.conf, or set channel_binding=prefer",
                self.address()
            )));
        }
        match &url.require_auth {
            Some(allowed) if !allowed.contains(&method) => Err(Error::Setting(format!(
                "require_auth: PostgreSQL at {} asks for {}, which it does not allow: change the line in \
                 pg_hba.conf, or require_auth",
                self.address(),
                method.as_str()
            ))),
            _ => Ok(()),
        }
    }

    /// The server lets us in: has it done what we require?
    fn check_accepted(
        &self,
        url: &PostgresUrl,
        exchange: Option<&Exchange>,
        asked: Option<AuthMethod>,
    ) -> Result<(), Error> {
        if exchange.is_some_and(|exchange| !exchange.proven) {
            return Err(self.protocol_error("SCRAM: the server has not proven that it knows the password"));
        }
        if exchange.is_none() && asked.is_none() {
            self.check_allowed(url, AuthMethod::None)?;
        }
        match url.channel_binding {
            ChannelBinding::Require if !exchange.is_some_and(|exchange| exchange.bound) => {
                Err(self.protocol_error("channel_binding=require: the server let us in without"))
            }
            _ => Ok(()),
        }
    }

    /// As libpq does, but not in silence.
    fn warn_of_cleartext(&self) {
        static ONCE: Once = Once::new();
        if matches!(self.transport, Transport::Plain(_)) {
            ONCE.call_once(|| {
                tracing::warn!(
                    server = self.address(),
                    "the password is sent as it is, without TLS: set sslmode=verify-full, or change `password` in \
                     pg_hba.conf to scram-sha-256"
                );
            });
        }
    }
}
