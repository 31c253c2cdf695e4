//! What every client command starts with: the pinned cluster, a key, a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avid_client::{Client, ClientConfig, ObjectRef, SystemHost, Timeouts};
use avid_types::{ClusterConfig, NodeId, ObjectName, PublicKey, Timestamp};

use crate::app::Context;
use crate::compat::Expected;
use crate::error::{CliError, Kind};
use crate::files::client_key::{ClientKey, load_with_grant};
use crate::files::cluster_file::load_cluster;

/// A client of the pinned cluster, under the caller's key.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the nodes agree on.
    pub(crate) config: Arc<ClusterConfig>,
    /// The client.
    pub(crate) client: Client,
}

impl Session {
    /// Loads cluster file and key, and connects to nobody yet.
    ///
    /// # Errors
    ///
    /// [`CliError`] if a file is unusable, the key has no grant, or the grant is for others.
    pub(crate) fn open(context: &Context) -> Result<Self, CliError> {
        Self::expecting(context, &Expected::default())
    }

    /// Like [`Self::open`], for a caller that says what it believes of the cluster.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and [`CliError`] naming what differs from the pinned configuration.
    pub(crate) fn expecting(context: &Context, expected: &Expected) -> Result<Self, CliError> {
        let (_, config) = load_cluster(&context.paths.cluster()?)?;
        expected.check(&config)?;
        let key = load_with_grant(&context.paths.client_key()?)?;
        if let Some(warning) = &key.warning {
            context.output.warn(warning);
        }
        let config = Arc::new(config);
        let client = client_of(Arc::clone(&config), &key.value, BTreeMap::new())?;
        Ok(Self { config, client })
    }

    /// An object by name, of another owner if one is given.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the name breaks a rule of names.
    pub(crate) fn object(&self, id: &str, owner: Option<PublicKey>) -> Result<ObjectRef, CliError> {
        let name = object_name(id)?;
        Ok(ObjectRef { owner: owner.unwrap_or_else(|| self.client.owner()), name })
    }

    /// Name of a node.
    #[must_use]
    pub(crate) fn name(&self, node: NodeId) -> String {
        self.config.member(node).map_or_else(|| node.to_string(), |member| member.name.clone())
    }
}

/// A client under a key, after its grant was looked at.
///
/// # Errors
///
/// [`CliError`] if no node would admit this key.
pub(crate) fn client_of(
    cluster: Arc<ClusterConfig>,
    key: &ClientKey,
    addresses: BTreeMap<NodeId, String>,
) -> Result<Client, CliError> {
    let (signing, grant) = (key.seed.key(), key.grant);
    let public = signing.public();
    let Some(signed) = grant else {
        return Err(denied(format!("the client key {public} has no grant")).hint(format!(
            "ask the operator to run `avid grant --operator-key FILE {public}` and keep the \
             result as KEYFILE.grant"
        )));
    };
    // The nodes decide by cluster time; zero here, so that our clock refuses nothing.
    signed.verify(&cluster, &public, Timestamp::ZERO).map_err(|error| {
        denied(format!("the grant of this client key does not fit: {error}"))
            .hint("key, grant and cluster file belong together; ask the operator for a new grant")
    })?;
    let (timeouts, host) = (Timeouts::default(), SystemHost::shared());
    Ok(Client::new(ClientConfig { cluster, key: signing, grant, addresses, timeouts, host }))
}

fn denied(message: String) -> CliError {
    CliError::new(Kind::Denied, message)
}

/// A checked object id.
///
/// # Errors
///
/// [`CliError`] with the rule it breaks.
pub(crate) fn object_name(id: &str) -> Result<ObjectName, CliError> {
    ObjectName::new(id).map_err(|error| CliError::usage(error.to_string()))
}

/// The moment `duration` from now, by this machine's clock.
///
/// # Errors
///
/// [`CliError`] if the clock is not set.
pub(crate) fn moment_in(duration: Duration) -> Result<Timestamp, CliError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| CliError::local("the clock of this machine is before 1970; set it first"))?;
    Ok(Timestamp::ZERO.plus(now.saturating_add(duration)))
}
