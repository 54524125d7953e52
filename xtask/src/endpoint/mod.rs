//! The lab's model endpoint: `xtask endpoint`, a process of the lab.
//!
//! It ends TLS with a certificate for the name asked for (or does without TLS, where the client does), speaks HTTP/2 or
//! HTTP/1.1 as the handshake agreed, keeps every request as it arrived, datagrams too, and either answers as OpenAI's
//! Chat Completions and Anthropic's Messages do, or hands the bytes to a server given with `--upstream`.

pub(crate) mod alpn;
mod answer;
mod anthropic;
mod certificates;
mod hold;
mod openai;
mod other;
mod pieces;
mod record;
mod serve;
mod split;
mod transcript;

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::lab::names::{ENROLLED, OTHER_PORTS, PORT};
use crate::lab::netns;
use alpn::{H2, Offer};
use certificates::Authority;
use record::{Recorder, Tee};
use serve::Service;

/// Arguments of the helper.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the certificate of the CA that signs for the endpoint here
    #[arg(long)]
    ca: PathBuf,
    /// Keep the requests here
    #[arg(long)]
    requests: PathBuf,
    /// After the sockets are bound, go to this network namespace
    #[arg(long)]
    then_netns: PathBuf,
    /// Forward to the first of these that answers
    #[arg(long)]
    upstream: Vec<SocketAddr>,
    /// Offer these protocols
    #[arg(long)]
    alpn: Offer,
}

/// What every connection needs.
struct Shared {
    acceptor: TlsAcceptor,
    recorder: Recorder,
    service: Service,
    upstream: Vec<SocketAddr>,
}

/// Serves until it is killed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(serve(args)))
}

async fn serve(args: &Args) -> Result<()> {
    // Thousands of streams may be open at once.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let authority = Authority::new()?;
    std::fs::write(&args.ca, authority.certificate_pem())
        .with_context(|| format!("cannot write {}", args.ca.display()))?;
    let mut listeners = Vec::new();
    let mut datagrams = Vec::new();
    for server in &ENROLLED {
        for address in [IpAddr::V4(server.v4), IpAddr::V6(server.v6)] {
            for port in [PORT].into_iter().chain(OTHER_PORTS) {
                let listener = TcpListener::bind((address, port)).await;
                listeners.push(listener.with_context(|| format!("cannot listen on {address} port {port}"))?);
                datagrams.push(other::bind(SocketAddr::new(address, port)).await?);
            }
        }
    }
    // The listeners stay where they were bound; what is dialled from now on leaves from the caller's network.
    let caller = File::open(&args.then_netns).with_context(|| format!("cannot open {}", args.then_netns.display()))?;
    netns::enter(&caller)?;

    let recorder = Recorder::new(&args.requests)?;
    let shared = Rc::new(Shared {
        acceptor: TlsAcceptor::from(authority.server_config(&args.alpn)?),
        service: Service::new(recorder.clone()),
        recorder,
        upstream: args.upstream.clone(),
    });
    for socket in datagrams {
        tokio::task::spawn_local(other::datagrams(socket, shared.recorder.clone()));
    }
    let mut accepting = Vec::new();
    for listener in listeners {
        accepting.push(tokio::task::spawn_local(accept(listener, Rc::clone(&shared))));
    }
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    for task in accepting {
        task.await?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    if let Err(error) = connection(stream, peer, &shared).await {
                        note(peer, &format!("{error:#}"));
                    }
                });
            }
            Err(error) => {
                eprintln!("endpoint: accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    if !other::begins_tls(&stream).await? {
        note(peer, &format!("connected to {local} without TLS"));
        return http_1(stream, shared).await;
    }
    let tls = shared.acceptor.accept(stream).await.context("TLS handshake")?;
    let session = tls.get_ref().1;
    let name = session.server_name().unwrap_or("no name");
    let protocol = session.alpn_protocol().map_or("no ALPN".to_owned(), |name| name.escape_ascii().to_string());
    note(peer, &format!("connected to {local} for {name} with {protocol}"));
    if session.alpn_protocol() == Some(H2) { http_2(tls, shared).await } else { http_1(tls, shared).await }
}

async fn http_1<S>(client: S, shared: &Shared) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Tee::new(client, shared.recorder.clone());
    if shared.upstream.is_empty() {
        shared.service.http_1(client).await
    } else {
        forward(client, &shared.upstream).await
    }
}

async fn http_2<S>(client: S, shared: &Shared) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if shared.upstream.is_empty() {
        shared.service.http_2(client).await
    } else {
        forward(Tee::whole(client, shared.recorder.clone()), &shared.upstream).await
    }
}

/// Passes bytes both ways, unmodified, until either side has no more.
async fn forward<S>(mut client: S, upstream: &[SocketAddr]) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut server =
        TcpStream::connect(upstream).await.with_context(|| format!("--upstream: no connection to {upstream:?}"))?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.context("forwarding to --upstream")?;
    Ok(())
}

/// A line in the endpoint's journal, its standard error.
fn note(peer: SocketAddr, text: &str) {
    eprintln!("{} {peer}: {text}", jiff::Timestamp::now());
}
