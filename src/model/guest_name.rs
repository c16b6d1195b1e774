//! What a guest is called where its own word does not do: in a file's name.

use md5::{Digest, Md5};

use super::request::GuestRef;

/// Room for a prefix, an interface and a suffix in a file's name of 255 bytes (NAME_MAX, linux/limits.h).
const LONGEST: usize = 200;

impl GuestRef {
    /// The guest as a part of a file's name: the word itself where that can be one. It never leaves its directory, and
    /// different words give different names.
    pub fn file_name(&self) -> String {
        let escaped = self.to_string().replace('%', "%25").replace('/', "%2F").replace(|c: char| c.is_control(), "%00");
        if escaped.len() <= LONGEST {
            return escaped;
        }
        let digest = Md5::digest(escaped.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // The end of a path tells most.
        let tail: String = escaped.chars().rev().take(LONGEST / 5).collect::<Vec<_>>().into_iter().rev().collect();
        format!("{hex}{tail}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn guest(word: &str) -> GuestRef {
        word.parse().unwrap()
    }

    #[test]
    fn a_plain_name_stays_as_it_is_and_a_path_stays_in_its_directory() {
        assert_eq!(guest("web").file_name(), "web");
        assert_eq!(guest("pid:4711").file_name(), "pid:4711");
        assert_eq!(guest("netns:/run/netns/a").file_name(), "netns:%2Frun%2Fnetns%2Fa");
        assert_ne!(guest("netns:/a%2Fb").file_name(), guest("netns:/a/b").file_name());
        let long = guest(&format!("netns:/{}", "../".repeat(300)));
        assert!(long.file_name().len() <= LONGEST && !long.file_name().contains('/'));
    }
}
