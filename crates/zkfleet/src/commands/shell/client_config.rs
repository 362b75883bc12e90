//! Apache's client properties (`-client-configuration`): what of them the shell honours.

use std::collections::HashMap;
use std::fs;

use super::Trouble;

/// The longest frame that is taken from a server, in Apache's client too.
const MAX_BUFFER: &str = "jute.maxbuffer";

/// The properties of a file, by key.
#[derive(Debug)]
pub(super) struct ClientConfig {
    pub(super) file: String,
    properties: HashMap<String, String>,
}

impl ClientConfig {
    pub(super) fn load(file: &str) -> Result<ClientConfig, Trouble> {
        let text = fs::read_to_string(file).map_err(|e| Trouble::failed(format!("{file}: {e}")))?;
        Ok(ClientConfig::parse(file, &text))
    }

    pub(super) fn parse(file: &str, text: &str) -> ClientConfig {
        let properties = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['#', '!']))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        ClientConfig { file: file.to_owned(), properties }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    /// `jute.maxbuffer` in bytes, if it is set; hexadecimal as well, as in `Integer.decode`.
    pub(super) fn max_buffer_bytes(&self) -> Result<Option<usize>, Trouble> {
        let Some(text) = self.get(MAX_BUFFER) else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(hex) => i32::from_str_radix(hex, 16),
            None => text.parse::<i32>(),
        };
        match number.ok().and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Trouble::usage(format!(
                "{}: {MAX_BUFFER}={text}: it must be a number of bytes from 1 to {}",
                self.file,
                i32::MAX
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_is_a_number_of_bytes() {
        let bytes = |text: &str| ClientConfig::parse("f", text).max_buffer_bytes();
        assert_eq!(bytes("# jute.maxbuffer=5\nother=1").unwrap(), None);
        assert_eq!(bytes("jute.maxbuffer = 8388608").unwrap(), Some(8 << 20));
        assert_eq!(bytes("jute.maxbuffer=0x800000").unwrap(), Some(8 << 20));
        for bad in ["", "8m", "0", "-1", "99999999999"] {
            let trouble = bytes(&format!("jute.maxbuffer={bad}")).unwrap_err();
            assert!(trouble.message.starts_with("f: jute.maxbuffer="), "{}", trouble.message);
            assert_eq!(trouble.exit_code(), 2);
        }
    }
}
