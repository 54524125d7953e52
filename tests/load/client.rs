//! A connection as a client of the lab makes it, and responses as far as a load needs to know them.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom the lab knows under this name.
pub(crate) const NAME: &str = "api.openai.com";

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Client {
    connector: TlsConnector,
    address: SocketAddr,
}

/// A connection, and what was read and not yet looked at.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Client {
    /// That trusts what every program in the lab is told to trust.
    pub(crate) fn new() -> Result<Self> {
        let bundle = env::var("SSL_CERT_FILE").context("SSL_CERT_FILE is not set: run this in the lab")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&bundle)? {
            // A bundle of the system has some that no library takes.
            let _ = roots.add(certificate?);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut addresses = (NAME, 443).to_socket_addrs()?;
        let address = addresses.find(SocketAddr::is_ipv4).context("the lab has no address for the endpoint")?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), address })
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect(self.address).await.context("connect")?;
        socket.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from(NAME)?, socket).await.context("TLS")?;
        Ok(Connection { stream, read: Vec::new() })
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next line with its end; none when the connection has ended.
    pub(crate) async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return Ok(Some(self.read.drain(..=end).collect()));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// One response with a Content-Length, to its end; its status.
    pub(crate) async fn response(&mut self) -> Result<u16> {
        let (mut status, mut length) = (0, 0);
        loop {
            let line = self.line().await?.context("closed instead of an answer")?;
            let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().unwrap_or_default().parse().context("a status")?;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length")?;
            } else if line.trim().is_empty() {
                break;
            }
        }
        while self.read.len() < length {
            if !self.fill().await? {
                bail!("closed inside an answer");
            }
        }
        self.read.drain(..length);
        Ok(status)
    }

    /// No more than there is: an idle connection holds no buffer of ours, so that there can be thousands.
    async fn fill(&mut self) -> Result<bool> {
        let mut piece = [0; 4096];
        let read = self.stream.read(&mut piece).await?;
        self.read.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }
}
