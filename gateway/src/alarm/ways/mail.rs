//! By mail: one message a notice, handed to one server over SMTP.
//!
//! `smtps://` speaks TLS from the first byte; `smtp://` asks for it (STARTTLS) and gives up without, but for a server
//! on this machine itself. What the server refuses for good (5xx) is a refusal.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{DeliverError, Notice, Sender, Way};
use crate::outbound::{pem, with_causes};
use crate::settings::{LocalPath, MailAddress, SecretReference, SmtpServer};

/// See the head of this module.
pub(super) struct Mail {
    pub(super) server: SmtpServer,
    pub(super) user: Option<String>,
    pub(super) secret: Option<SecretReference>,
    pub(super) from: Option<MailAddress>,
    pub(super) to: Vec<MailAddress>,
    pub(super) ca_file: Option<LocalPath>,
    pub(super) timeout: Duration,
}

#[async_trait]
impl Way for Mail {
    async fn deliver(&self, notice: &Notice, sender: &Sender) -> Result<(), DeliverError> {
        let message = self.message(notice, sender)?;
        let sent = self.transport().await?.send(message).await;
        sent.map(drop).map_err(|error| {
            let why =
                format!("the mail server {} did not take the mail: {}", self.server, with_causes(&error));
            if error.is_permanent() { DeliverError::Refused(why) } else { DeliverError::Passing(why) }
        })
    }
}

impl Mail {
    fn message(&self, notice: &Notice, sender: &Sender) -> Result<Message, DeliverError> {
        let refused =
            |error: lettre::error::Error| DeliverError::Refused(format!("no mail can be made: {error}"));
        let from =
            self.from.as_ref().ok_or_else(|| DeliverError::Refused("mail_from is not set".to_owned()))?;
        let builder = Message::builder().from(from.mailbox().clone()).subject(notice.title(sender));
        let builder = self.to.iter().fold(builder, |builder, to| builder.to(to.mailbox().clone()));
        builder.header(ContentType::TEXT_PLAIN).body(notice.text(sender)).map_err(refused)
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, DeliverError> {
        let host = self.server.host();
        let refused = |error: lettre::transport::smtp::Error| {
            DeliverError::Refused(format!("TLS cannot be set up: {}", with_causes(&error)))
        };
        let mut parameters = TlsParameters::builder(host.to_owned());
        if let Some(path) = &self.ca_file {
            let certificates =
                Certificate::from_pem(&pem(path).await.map_err(DeliverError::Refused)?).map_err(refused)?;
            parameters =
                parameters.certificate_store(CertificateStore::None).add_root_certificate(certificates);
        }
        let tls = match (self.server.is_wrapped(), self.server.is_local()) {
            (true, _) => Tls::Wrapper(parameters.build_rustls().map_err(refused)?),
            (false, false) => Tls::Required(parameters.build_rustls().map_err(refused)?),
            (false, true) => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(self.server.port())
            .timeout(Some(self.timeout))
            .tls(tls);
        if let (Some(user), Some(reference)) = (&self.user, &self.secret) {
            let secret = reference.resolve().await?;
            let text = secret.expose_text().ok_or_else(|| {
                DeliverError::Refused("the secret of the mail server is not UTF-8 text".to_owned())
            })?;
            builder = builder.credentials(Credentials::new(user.clone(), text.to_owned()));
        }
        Ok(builder.build())
    }
}
