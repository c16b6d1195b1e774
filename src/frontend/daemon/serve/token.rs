//! What whoever asks by TCP has to know.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::ServeError;

/// The shortest token, in characters: 16 of base64 are 96 bits.
const SHORTEST: usize = 16;
const LONGEST: usize = 1024;

/// The token.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// Reads it. It is all that is in the file, but for blanks around it.
    ///
    /// # Errors
    /// When it cannot be read, when others can read it too, or when it is too easy to guess.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let fail = |source| ServeError::TokenFile { path: path.to_owned(), source };
        let bad = |why: String| ServeError::BadToken { path: path.to_owned(), why };
        // A pipe would be waited for otherwise.
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC).open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(bad("it is no ordinary file".into()));
        }
        if metadata.mode() & 0o007 != 0 {
            return Err(bad(format!("everybody may read or write it (mode {:o}): chmod o= {}", metadata.mode() & 0o777, path.display())));
        }
        let mut text = String::new();
        let most = u64::try_from(LONGEST * 2).unwrap_or(u64::MAX);
        file.by_ref().take(most).read_to_string(&mut text).map_err(fail)?;
        Self::new(text.trim()).map_err(bad)
    }

    fn new(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is to be one word of ASCII letters, digits and signs".into());
        }
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return Err(format!("it has {} characters: give {SHORTEST} to {LONGEST}, like head -c 32 /dev/urandom | base64", text.len()));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Whether an `Authorization` header of a browser has it as its password (RFC 7617), whatever the user's name.
    pub(super) fn is_password_in(&self, header: Option<&[u8]>) -> bool {
        let scheme = header.and_then(|header| header.split_at_checked(6)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
        let decoded = scheme.and_then(|(_, told)| BASE64_STANDARD.decode(told).ok());
        let Some(decoded) = decoded else { return false };
        let Some(at) = decoded.iter().position(|byte| *byte == b':') else { return false };
        let password = decoded.get(at + 1..).unwrap_or_default();
        self.is_in(Some(&[b"Bearer ", password].concat()))
    }

    /// Whether an `Authorization` header has it. The time that takes tells nothing of it but how long it is.
    pub(super) fn is_in(&self, header: Option<&[u8]>) -> bool {
        let scheme = header.and_then(|header| header.split_at_checked(7)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let Some((_, told)) = scheme else { return false };
        if told.len() != self.0.len() {
            return false;
        }
        let differs = told.iter().zip(&self.0).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b)));
        differs == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GOOD: &str = "0123456789abcdef+/=";

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new(GOOD).unwrap();
        let opens = |header: &str| token.is_in(Some(header.as_bytes()));
        assert!(opens(&format!("Bearer {GOOD}")) && opens(&format!("bearer {GOOD}")));
        for wrong in ["", "Bearer", "Bearer ", GOOD, "Basic 0123456789abcdef+/=", "Bearer 0123456789abcdef+/", "Bearer 0123456789abcdef+/-"]
        {
            assert!(!opens(wrong), "{wrong}");
        }
        assert!(!opens(&format!("Bearer {GOOD} ")) && !token.is_in(None));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_that_everybody_can_read_or_guess_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let refused = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path).err().map(|error| error.to_string())
        };
        assert_eq!(refused(&format!("{GOOD}\n"), 0o600), None);
        assert_eq!(refused(GOOD, 0o640), None);
        assert!(refused(GOOD, 0o644).unwrap().contains("chmod o="));
        assert!(refused("short", 0o600).unwrap().contains("5 characters"));
        assert!(refused("", 0o600).is_some() && refused("two words of a token", 0o600).is_some());
        assert!(refused(&"x".repeat(10_000), 0o600).is_some());
        assert!(Token::read(directory.path()).is_err() && Token::read(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn a_browser_gives_it_as_a_password() {
        let token = Token::new("0123456789abcdef").unwrap();
        let told = |text: &str| token.is_password_in(Some(format!("Basic {}", BASE64_STANDARD.encode(text)).as_bytes()));
        assert!(told("me:0123456789abcdef") && told(":0123456789abcdef"));
        assert!(!told("0123456789abcdef") && !told("me:0123456789abcdeX") && !told("me:") && !token.is_password_in(Some(b"Basic ?")));
        assert!(!token.is_password_in(None) && !token.is_password_in(Some(b"Bearer 0123456789abcdef")));
    }
}
