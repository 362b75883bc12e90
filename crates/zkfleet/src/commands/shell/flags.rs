//! The options in front of the command.

use std::time::Duration;

use super::Trouble;

pub(super) const USAGE: &str =
    "zkfleet shell [-server host:port,...[/chroot]] [-timeout ms] [-r] [--json] [command args]";

pub(super) const HELP: &str = "\
Options:
  -server LIST[/CHROOT]   servers to try, default localhost:2181
  -timeout MS             session timeout, default 30000
  -r                      be content with a read-only server
  -waitforconnection      try for the whole timeout, not just every server twice; without a
                          server, for each command
  -client-configuration F Apache's client properties: TLS with PEM stores, jute.maxbuffer
  --tls-ca F              speak TLS, trusting the certificate authorities in F (PEM)
  --tls-cert F            show this certificate chain (PEM); needs --tls-key
  --tls-key F             its private key (PEM)
  --sasl-user NAME        SASL DIGEST-MD5 as this user; needs --sasl-password-file
  --sasl-password-file F  its password: the first line of F
  --json                  results and errors as JSON, one line for each command; no events
  -h, --help              this text

Without a command the shell is interactive; \"help\" lists the commands. With one, the exit code
is 0, 1 if it failed, 2 if it could not be understood or its output could not be written. Of many
commands through a pipe all are carried out, and the exit code is that of the first that failed.

Examples:
  zkfleet shell ls /
  zkfleet shell -server zk1:2181,zk2:2181/app get -s /config
  zkfleet shell --json stat /zookeeper
";

/// What was asked before the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    pub(super) server: String,
    pub(super) timeout: Duration,
    pub(super) allows_read_only: bool,
    pub(super) waits_for_connection: bool,
    pub(super) is_json: bool,
    pub(super) client_configuration: Option<String>,
    pub(super) tls_ca: Option<String>,
    pub(super) tls_cert: Option<String>,
    pub(super) tls_key: Option<String>,
    pub(super) sasl_user: Option<String>,
    pub(super) sasl_password_file: Option<String>,
    /// The command and its arguments; empty for an interactive shell.
    pub(super) command: Vec<String>,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            server: "localhost:2181".to_owned(),
            timeout: Duration::from_secs(30),
            allows_read_only: false,
            waits_for_connection: false,
            is_json: false,
            client_configuration: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            sasl_user: None,
            sasl_password_file: None,
            command: Vec::new(),
        }
    }
}

impl Flags {
    /// Options with one dash or two, up to the first word without; `None`: help is wanted.
    pub(super) fn parse(words: &[String]) -> Result<Option<Flags>, Trouble> {
        let mut flags = Flags::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                flags.command = std::iter::once(word).chain(words).cloned().collect();
                return Ok(Some(flags));
            };
            let (option, attached) = match option.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (option, None),
            };
            let mut value = || {
                attached.clone().or_else(|| words.next().cloned()).ok_or_else(|| {
                    Trouble::usage(format!("Error: no argument found for option {word}"))
                })
            };
            match option {
                "server" => flags.server = value()?,
                "timeout" => flags.timeout = timeout(&value()?)?,
                "r" => flags.allows_read_only = true,
                "waitforconnection" => flags.waits_for_connection = true,
                "client-configuration" => flags.client_configuration = Some(value()?),
                "tls-ca" => flags.tls_ca = Some(value()?),
                "tls-cert" => flags.tls_cert = Some(value()?),
                "tls-key" => flags.tls_key = Some(value()?),
                "sasl-user" => flags.sasl_user = Some(value()?),
                "sasl-password-file" => flags.sasl_password_file = Some(value()?),
                "json" => flags.is_json = true,
                "h" | "help" | "?" => return Ok(None),
                _ => {
                    return Err(Trouble::usage(format!("Unrecognized option: {word}\n{USAGE}")));
                }
            }
        }
        Ok(Some(flags))
    }
}

fn timeout(text: &str) -> Result<Duration, Trouble> {
    match text.parse::<u32>() {
        Ok(ms) if ms > 0 && ms <= i32::MAX as u32 => Ok(Duration::from_millis(ms.into())),
        _ => Err(Trouble::usage(format!("-timeout takes milliseconds, not {text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Flags>, Trouble> {
        Flags::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_zkclis_until_the_command() {
        let flags = parse("-server a:1/x -timeout 500 -r --json ls -R /").unwrap().unwrap();
        assert_eq!(
            flags,
            Flags {
                server: "a:1/x".to_owned(),
                timeout: Duration::from_millis(500),
                allows_read_only: true,
                is_json: true,
                command: ["ls", "-R", "/"].map(str::to_owned).to_vec(),
                ..Flags::default()
            }
        );
        assert_eq!(parse("").unwrap(), Some(Flags::default()));
        assert_eq!(parse("--server=b:2").unwrap().unwrap().server, "b:2");
        assert_eq!(parse("-r --help ls /").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, want) in [
            ("-server", "Error: no argument found for option -server"),
            ("-timeout soon", "-timeout takes milliseconds, not \"soon\""),
            ("-timeout 0", "-timeout takes milliseconds, not \"0\""),
        ] {
            let trouble = parse(line).unwrap_err();
            assert_eq!((trouble.message.as_str(), trouble.exit_code()), (want, 2));
        }
        assert!(parse("-x").unwrap_err().message.starts_with("Unrecognized option: -x\n"));
    }
}
