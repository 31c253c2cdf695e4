//! Writes an object and reads it back: `cargo run -p avid-client --example put_get -- CLUSTER KEY`,
//! with the exported configuration and 32 bytes of key seed as files. Without a grant the cluster
//! must admit this key by other means.

use std::{collections::BTreeMap, error::Error, io::Cursor, sync::Arc};

use avid_client::{Client, ClientConfig, DisperseOptions, Silent, Source, SystemHost, Timeouts};
use avid_types::{ClusterConfig, ObjectName, SigningKey};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut files = std::env::args().skip(1).map(std::fs::read);
    let (Some(cluster), Some(seed)) = (files.next(), files.next()) else {
        return Err("usage: put_get CLUSTER KEY".into());
    };
    let cluster = Arc::new(ClusterConfig::from_bytes(&cluster?)?);
    let key = SigningKey::from_seed(seed?.try_into().map_err(|_| "a seed has 32 bytes")?);
    let (addresses, timeouts) = (BTreeMap::new(), Timeouts::default());
    let host = SystemHost::shared();
    let client = Client::new(ClientConfig { cluster, key, grant: None, addresses, timeouts, host });

    let name = ObjectName::new("greeting")?;
    let source = Source::reader(Box::new(Cursor::new(b"hello".to_vec())));
    client.disperse(&name, source, &DisperseOptions::default(), &Silent).await?;
    let mut bytes = Vec::new();
    client.retrieve(&client.own(&name), None, &mut bytes, &Silent).await?;
    assert_eq!(bytes, b"hello");
    Ok(())
}
