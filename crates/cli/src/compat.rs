//! The command lines of the seed's quick start, word for word.
//!
//! Invoked as `client` or `server` (a link or a copy), the binary takes Go-style flags: one dash or
//! two, `-flag value` or `-flag=value`. Each is translated into a command of `avid`; one we do not
//! know is refused by name, and none is accepted and ignored: `-peers`, `-m` and `-n` say what the
//! caller believes of the cluster and must agree with the pinned configuration.
//!
//! Not here: what the commands do ([`crate::commands`]).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use avid_types::ClusterConfig;

use crate::args::{Cli, Command, Globals};
use crate::commands::{disperse, retrieve, serve};
use crate::error::{CliError, Kind};

/// Which of the seed's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `client`.
    Client,
    /// `server`.
    Server,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command of `avid`.
    Run(Box<Cli>),
    /// The list of flags.
    Help(String),
}

/// What a caller believes of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Addresses of all nodes, in any order.
    pub(crate) peers: Option<Vec<String>>,
    /// Fragments that rebuild an object.
    pub(crate) m: Option<u8>,
    /// Fragments in all.
    pub(crate) n: Option<u8>,
}

const CLIENT_FLAGS: [&str; 7] = ["mode", "file", "id", "peers", "m", "n", "config"];
const SERVER_FLAGS: [&str; 4] = ["config", "peers", "m", "n"];

impl Program {
    /// The program a file name stands for.
    #[must_use]
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "client" => Some(Self::Client),
            "server" => Some(Self::Server),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Client => &CLIENT_FLAGS,
            Self::Server => &SERVER_FLAGS,
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Client => {
                "usage: client -mode disperse|retrieve -file FILE -id ID\n\
                 \x20             [-peers HOST:PORT,...] [-m M] [-n N] [-config CLUSTER_FILE]\n\n\
                 Keys and pinned configuration: AVID_CLUSTER and AVID_KEY, else /etc/avid/cluster.json\n\
                 and /etc/avid/client.key. -peers, -m and -n must agree with the configuration.\n\
                 `avid --help` has everything else."
            }
            Self::Server => {
                "usage: server [-config SETTINGS_FILE] [-peers HOST:PORT,...] [-m M] [-n N]\n\n\
                 Keys and pinned configuration: from the settings file, else AVID_CLUSTER and AVID_KEY,\n\
                 else /etc/avid/cluster.json and /etc/avid/node.key; data: /var/lib/avid.\n\
                 -peers, -m and -n must agree with the configuration. `avid serve --help` has the rest."
            }
        }
    }
}

/// Translates the arguments after the program's name.
///
/// # Errors
///
/// [`CliError`] naming the flag that is unknown, missing or malformed.
pub(crate) fn parse(program: Program, arguments: &[OsString]) -> Result<Parsed, CliError> {
    let hint = |error: CliError| error.hint(program.usage());
    let Some(mut values) = split(program, arguments).map_err(hint)? else {
        return Ok(Parsed::Help(program.usage().to_owned()));
    };
    let expected = Expected {
        peers: values.remove("peers").map(|text| text.split(',').map(peer).collect()),
        m: number(&mut values, "m")?,
        n: number(&mut values, "n")?,
    };
    let cli = match program {
        Program::Client => client(values, expected).map_err(hint)?,
        Program::Server => {
            let config = values.remove("config").map(PathBuf::from);
            let args = serve::Args { config, expected, ..serve::Args::default() };
            Cli { globals: Globals::default(), command: Command::Serve(args) }
        }
    };
    Ok(Parsed::Run(Box::new(cli)))
}

fn client(mut values: BTreeMap<&'static str, String>, expected: Expected) -> Result<Cli, CliError> {
    let mut required = |name: &str| {
        values.remove(name).ok_or_else(|| CliError::usage(format!("client needs -{name}")))
    };
    let (mode, file, id) = (required("mode")?, required("file")?, required("id")?);
    let command = match mode.as_str() {
        "disperse" => {
            let args = disperse::Args::of_file(PathBuf::from(file), id, expected);
            Command::Disperse(args)
        }
        "retrieve" => {
            let args = retrieve::Args::to_file(id, PathBuf::from(file), expected);
            Command::Retrieve(args)
        }
        other => {
            let text = format!("-mode is disperse or retrieve, not \"{other}\"");
            return Err(CliError::usage(text));
        }
    };
    let cluster = values.remove("config").map(PathBuf::from);
    Ok(Cli { globals: Globals { cluster, ..Globals::default() }, command })
}

/// Flag by flag; `None` if help was asked for.
fn split(
    program: Program,
    arguments: &[OsString],
) -> Result<Option<BTreeMap<&'static str, String>>, CliError> {
    let mut values = BTreeMap::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = utf8(argument)?;
        let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
            let program = program.name();
            return Err(CliError::usage(format!("{program} takes only flags, found \"{text}\"")));
        };
        if matches!(flag, "h" | "help") {
            return Ok(None);
        }
        let (name, attached) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let Some(known) = program.flags().iter().find(|known| **known == name) else {
            let program = program.name();
            return Err(CliError::usage(format!("{program} has no flag -{name}")));
        };
        let value = match (attached, rest.as_slice().first()) {
            (Some(value), _) => value,
            (None, Some(next)) => {
                rest.next();
                utf8(next)?.to_owned()
            }
            (None, None) => return Err(CliError::usage(format!("-{name} needs a value"))),
        };
        if values.insert(*known, value).is_some() {
            return Err(CliError::usage(format!("-{name} is given twice")));
        }
    }
    Ok(Some(values))
}

fn utf8(argument: &OsString) -> Result<&str, CliError> {
    argument.to_str().ok_or_else(|| {
        CliError::usage(format!("argument {} is not UTF-8", argument.to_string_lossy()))
    })
}

fn peer(text: &str) -> String {
    text.trim().to_owned()
}

fn number(values: &mut BTreeMap<&'static str, String>, name: &str) -> Result<Option<u8>, CliError> {
    let Some(text) = values.remove(name) else {
        return Ok(None);
    };
    let number = text.parse().map_err(|_| {
        CliError::usage(format!("-{name} is a number from 1 to 255, not \"{text}\""))
    })?;
    Ok(Some(number))
}

impl Expected {
    /// Compares what the caller believes with the pinned configuration.
    ///
    /// # Errors
    ///
    /// [`CliError`] naming the value or peer that differs.
    pub(crate) fn check(&self, config: &ClusterConfig) -> Result<(), CliError> {
        let shape =
            [("-m", self.m, config.params.m_byte()), ("-n", self.n, config.params.n_byte())];
        for (flag, said, pinned) in shape {
            if let Some(said) = said.filter(|said| *said != pinned) {
                return Err(differs(format!(
                    "{flag} is {said}, the pinned configuration has {pinned}"
                )));
            }
        }
        let Some(peers) = &self.peers else {
            return Ok(());
        };
        let members = || config.members.iter().map(|member| &member.address);
        if let Some(stranger) = peers.iter().find(|peer| !members().any(|a| a == *peer)) {
            return Err(differs(format!(
                "peer {stranger} of -peers is no member of the pinned configuration"
            )));
        }
        if let Some(missing) = members().find(|address| !peers.contains(address)) {
            return Err(differs(format!(
                "-peers lacks {missing}, a member of the pinned configuration"
            )));
        }
        if peers.len() != config.members.len() {
            return Err(differs(format!(
                "-peers names {} nodes, the pinned configuration has {}",
                peers.len(),
                config.members.len()
            )));
        }
        Ok(())
    }
}

fn differs(message: String) -> CliError {
    CliError::new(Kind::Usage, message).hint(
        "`avid cluster show` prints the pinned configuration; correct the flag, leave it out, or \
         pin the other cluster with AVID_CLUSTER",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(program: Program, line: &str) -> Result<Parsed, CliError> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(program, &words)
    }

    const PEERS: &str = "server1:50051,server2:50052,server3:50053,server4:50054,server5:50055";

    #[test]
    fn the_quick_start_of_the_seed_parses() {
        let line = format!("-mode disperse -file /demo.bin -id demo -peers {PEERS} -m 3 -n 5");
        let Ok(Parsed::Run(cli)) = parse_words(Program::Client, &line) else { panic!("{line}") };
        let Command::Disperse(args) = cli.command else { panic!("{line}") };
        assert_eq!(args.file, PathBuf::from("/demo.bin"));
        assert_eq!(args.id.as_deref(), Some("demo"));
        assert_eq!((args.expected.m, args.expected.n), (Some(3), Some(5)));
        assert_eq!(args.expected.peers.map(|peers| peers.len()), Some(5));
        let line = format!("--mode=retrieve --file=/out.bin --id=demo --peers={PEERS} -m=3 -n=5");
        let Ok(Parsed::Run(cli)) = parse_words(Program::Client, &line) else { panic!("{line}") };
        let Command::Retrieve(args) = cli.command else { panic!("{line}") };
        assert_eq!((args.id.as_str(), args.out), ("demo", Some(PathBuf::from("/out.bin"))));
        let Ok(Parsed::Run(cli)) = parse_words(Program::Server, "-config server1.json -m 4 -n 6")
        else {
            panic!("server")
        };
        let Command::Serve(args) = cli.command else { panic!("server") };
        assert_eq!(args.config, Some(PathBuf::from("server1.json")));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let table = [
            (Program::Client, "-mode disperse -file a -id b -tls_cert c", "no flag -tls_cert"),
            (Program::Client, "-mode copy -file a -id b", "not \"copy\""),
            (Program::Client, "-mode disperse -id b", "needs -file"),
            (Program::Client, "-mode disperse -file a -id b extra", "found \"extra\""),
            (Program::Client, "-mode disperse -file a -id b -m", "-m needs a value"),
            (Program::Client, "-mode disperse -file a -id b -m 3 -m 4", "-m is given twice"),
            (Program::Client, "-mode disperse -file a -id b -m x", "not \"x\""),
            (Program::Server, "-file a", "no flag -file"),
        ];
        for (program, line, reason) in table {
            let error = parse_words(program, line).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{line}");
            assert!(error.message.contains(reason), "{line}: {error}");
        }
        assert!(matches!(parse_words(Program::Client, "-h"), Ok(Parsed::Help(_))));
    }
}
