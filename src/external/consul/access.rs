//! How an agent is reached: its address, a token, certificates.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::ConsulError;

/// Something that nobody is to see: it is printed as dots, also in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret word; white space around it is none of it.
    ///
    /// # Errors
    /// When there is none, or it cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, ConsulError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConsulError::Access("a secret is a word of printable ASCII characters".into()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret of a file.
    ///
    /// # Errors
    /// When it cannot be read, or others than its owner may read it.
    pub fn from_file(path: &Path) -> Result<Self, ConsulError> {
        use std::os::unix::fs::PermissionsExt;
        let refuse = |why: String| ConsulError::Access(format!("{}: {why}", path.display()));
        let mode = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(refuse(format!("it holds a secret, and everybody may read it: chmod 600 {}", path.display())));
        }
        Self::new(&std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?)
            .map_err(|_| refuse("it holds no secret: one line of printable characters".into()))
    }

    /// The secret itself, for a header or a file of mode 0600.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who signed the agents' certificates.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How an agent is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `http://127.0.0.1:8500`, without a slash at its end.
    address: String,
    host: String,
    token: Option<Secret>,
    tls: TlsFiles,
}

impl FromStr for Access {
    type Err = ConsulError;

    /// `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, ConsulError> {
        let refuse = |why: &str| ConsulError::Access(format!("{text}: {why}: write http://HOST:8500 or https://HOST:8501"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !matches!(scheme, "http" | "https") {
            return Err(refuse("Consul speaks HTTP"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("it is no address of an agent"));
        }
        let default = if scheme == "https" { 8501 } else { 8500 };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, port.parse::<u16>().map_err(|_| refuse("the port is no number"))?),
            _ => (rest, default),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || (bare.contains(':') && bare.len() == host.len()) {
            return Err(refuse("the host is missing, or is an IPv6 address without brackets"));
        }
        Ok(Self { address: format!("{scheme}://{host}:{port}"), host: bare.to_owned(), token: None, tls: TlsFiles::default() })
    }
}

impl Access {
    /// With a token.
    #[must_use]
    pub fn with_token(self, token: Option<Secret>) -> Self {
        Self { token, ..self }
    }

    /// With files for TLS.
    #[must_use]
    pub fn with_tls(self, tls: TlsFiles) -> Self {
        Self { tls, ..self }
    }

    /// The address, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token.
    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether everybody on the way can read along and join in: HTTP without TLS beyond this host.
    pub fn is_open(&self) -> bool {
        let is_loopback = self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.address.starts_with("http:") && !is_loopback
    }

    /// The whole address of a request.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut url = format!("{}/v1/{}", self.address, escaped(path, b"/"));
        for (index, (key, value)) in query.iter().enumerate() {
            url += if index == 0 { "?" } else { "&" };
            url += key;
            if !value.is_empty() {
                url += "=";
                url += &escaped(value, b"");
            }
        }
        url
    }

    pub(super) fn tls(&self) -> Result<Option<TlsConfig>, ConsulError> {
        if !self.address.starts_with("https:") {
            return Ok(None);
        }
        let mut config = TlsConfig::builder();
        if let Some(ca) = &self.tls.ca {
            config = config.root_certs(RootCerts::from(certificates(ca)?));
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(cert), Some(key)) => {
                config = config.client_cert(Some(ClientCert::new_with_certs(&certificates(cert)?, private_key(key)?)));
            }
            (None, None) => {}
            _ => return Err(ConsulError::Access("a certificate and its key are given together".into())),
        }
        Ok(Some(config.build()))
    }
}

/// Bytes that mean something in an address are written by their numbers (RFC 3986, 2.1).
fn escaped(text: &str, also: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) || also.contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut all, byte| {
        if plain(byte) {
            all.push(byte.into())
        } else {
            all += &format!("%{byte:02X}")
        }
        all
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ConsulError> {
    std::fs::read(path).map_err(|error| ConsulError::Access(format!("{}: {error}", path.display())))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ConsulError> {
    let text = read(path)?;
    let all: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if all.is_empty() { Err(ConsulError::Access(format!("{}: it holds no certificate (PEM)", path.display()))) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, ConsulError> {
    PrivateKey::from_pem(&read(path)?).map_err(|_| ConsulError::Access(format!("{}: it holds no private key (PEM)", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_read_whole_or_refused() {
        for (text, address) in [
            ("http://127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("127.0.0.1", "http://127.0.0.1:8500"),
            ("https://consul.example/", "https://consul.example:8501"),
            ("[::1]:8500", "http://[::1]:8500"),
            ("https://[::1]", "https://[::1]:8501"),
        ] {
            assert_eq!(text.parse::<Access>().unwrap().address(), address);
        }
        for text in ["", "ftp://x", "http://", "::1:8500", "http://user@host:8500", "http://h:port", "http://h/path", "h ost"] {
            assert!(text.parse::<Access>().is_err(), "{text}");
        }
    }

    #[test]
    fn http_beyond_this_host_is_open() {
        for (text, open) in
            [("127.0.0.1", false), ("localhost:1", false), ("[::1]:8500", false), ("192.168.1.1", true), ("https://192.168.1.1", false)]
        {
            assert_eq!(text.parse::<Access>().unwrap().is_open(), open, "{text}");
        }
    }

    #[test]
    fn what_means_something_in_an_address_is_escaped() {
        let access: Access = "127.0.0.1:8500".parse().unwrap();
        assert_eq!(
            access.url("kv/a b/ü?x", &[("cas", "0"), ("raw", ""), ("dc", "a&b")]),
            "http://127.0.0.1:8500/v1/kv/a%20b/%C3%BC%3Fx?cas=0&raw&dc=a%26b"
        );
    }

    #[test]
    fn a_secret_is_never_printed() {
        let access: Access = "127.0.0.1:8500".parse().unwrap();
        let access = access.with_token(Some(Secret::new("very-secret\n").unwrap()));
        assert!(!format!("{access:?}").contains("very"));
        assert_eq!(access.token().unwrap().reveal(), "very-secret");
        assert!(Secret::new("two words").is_err());
    }
}
