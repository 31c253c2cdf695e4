//! Measures one connection over loopback: frames of one chunk, and small calls.
//!
//! `cargo run --release -p avid-net --example link_throughput`
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use avid_net::{
    Connection, DialTarget, DialTimeouts, Hello, Listener, ListenerLimits, Local, Refusal, Role,
    StopHandle, SystemHost, dial,
};
use avid_types::{ClusterId, Digest, Epoch, SigningKey};
use tokio::sync::mpsc;

const CHUNK_BYTES: usize = 256 << 10;
const PREFIX_BYTES: usize = 300;
const CHUNKS: usize = 16_384;
const CALLS: u32 = 20_000;
const KIND_CHUNK: u8 = 20;
const KIND_CALL: u8 = 21;

fn local(seed: u8, role: Role) -> Local {
    Local {
        key: SigningKey::from_seed([seed; 32]),
        role,
        cluster: ClusterId::ZERO,
        epoch: Epoch(0),
        config: Digest::ZERO,
        payload: Vec::new(),
    }
}

async fn serve(connection: Connection) -> Result<(), avid_net::LinkError> {
    let (mut prefix, mut chunk) = (vec![0; PREFIX_BYTES], vec![0; CHUNK_BYTES]);
    let (_peer, mut reader, mut writer) = connection.split();
    while let Some(header) = reader.next_header().await? {
        if header.kind == KIND_CHUNK {
            reader.read_exact(&mut prefix).await?;
            reader.read_exact(&mut chunk).await?;
        } else {
            let body = reader.read_body().await?;
            writer.write_frame(KIND_CALL, 1, &[&body]).await?;
            writer.flush().await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(&SystemHost::shared(), &[any_port], ListenerLimits::default())?;
    let addresses = listener.addresses().iter().map(ToString::to_string).collect();
    let (_handle, stop) = StopHandle::new();
    let (sender, mut connections) = mpsc::channel(1);
    let admit = |_: &Hello| Ok::<_, Refusal>(Vec::new());
    tokio::spawn(listener.run(stop, || local(2, Role::Node), admit, sender));
    let target = DialTarget { addresses, key: SigningKey::from_seed([2; 32]).public() };

    let start = Instant::now();
    let mut client =
        dial(&SystemHost::shared(), &target, &local(1, Role::Client), DialTimeouts::default())
            .await?;
    println!("connect and handshake: {:?}", start.elapsed());
    let served = connections.recv().await.ok_or("no connection")?;
    let server = tokio::spawn(serve(served));

    let start = Instant::now();
    for _ in 0..CALLS {
        client.writer().write_frame(KIND_CALL, 1, &[&[0; 64]]).await?;
        client.writer().flush().await?;
        client.reader().next_header().await?;
        client.reader().read_body().await?;
    }
    println!("call of 64 bytes: {:?}", start.elapsed() / CALLS);

    let (prefix, chunk) = (vec![1; PREFIX_BYTES], vec![2; CHUNK_BYTES]);
    let start = Instant::now();
    for _ in 0..CHUNKS {
        client.writer().write_frame(KIND_CHUNK, 1, &[&prefix, &chunk]).await?;
    }
    client.writer().close().await?;
    server.await??;
    let bytes = f64::from(u32::try_from(CHUNKS)?) * f64::from(u32::try_from(CHUNK_BYTES)?);
    let seconds = start.elapsed().as_secs_f64();
    println!("frames of 256 KiB: {:.2} GB/s", bytes / seconds / 1e9);
    Ok(())
}
